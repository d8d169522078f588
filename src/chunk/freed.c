#include "chunk/freed.h"

uint64_t qy_freed_secret, qy_freed_factor;
