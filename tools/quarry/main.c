#include <stdio.h>
int main(void)
{
    puts("quarry " QUARRY_VERSION);
    return 0;
}
