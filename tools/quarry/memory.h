/* Memory for the command's own use: there is always some, or the command ends with one line. */
#ifndef QUARRY_MEMORY_H
#define QUARRY_MEMORY_H

#include <stddef.h>

void *allocate(size_t bytes); /* zero */

/* An array with room for one more element than `count`, doubled when that is a power of two. */
void *grow(void *array, size_t count, size_t element);

char *copy_text(const char *text);

/* "a,b"; either may be NULL or empty, and then there is no `between`. */
char *join_text(const char *a, const char *b, char between);

#endif
