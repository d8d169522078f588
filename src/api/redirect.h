/*
 * Libraries opened with RTLD_DEEPBIND (docs/decisions/0019-deepbind.md).
 */
#ifndef QY_API_REDIRECT_H
#define QY_API_REDIRECT_H

/* At start-up, when malloc works. */
void qy_redirect_init(void);

/* In the child of fork(), where the thread that was about it is gone. */
void qy_redirect_reset(void);

#endif
