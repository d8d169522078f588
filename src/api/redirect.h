/*
 * Libraries opened with RTLD_DEEPBIND (docs/decisions/0019-deepbind.md): of libquarry.so, which stands before dlopen.
 */
#ifndef QY_API_REDIRECT_H
#define QY_API_REDIRECT_H

/* In the child of fork(), where the thread that was about it is gone. */
void qy_redirect_reset(void);

#endif
