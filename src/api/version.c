#include "base/compiler.h"
#include "quarry/quarry.h"

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)

QY_EXPORT const char *quarry_version(void)
{
    return TEXT(QUARRY_VERSION_MAJOR) "." TEXT(QUARRY_VERSION_MINOR) "." TEXT(QUARRY_VERSION_PATCH);
}
