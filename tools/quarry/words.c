#include "words.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUFFERS = 8, LENGTH = 96 };

static char *next_buffer(void)
{
    static char buffers[BUFFERS][LENGTH];
    static unsigned next;
    return buffers[next++ % BUFFERS];
}

const char *words_bytes(uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    char *text = next_buffer();
    double value = (double)bytes;
    unsigned unit = 0;
    for (; value >= 1023.95 && unit < 4; unit++)
        value /= 1024;
    snprintf(text, LENGTH, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
    return text;
}

const char *words_count(uint64_t count)
{
    char digits[LENGTH], *text = next_buffer(), *to = text;
    int length = snprintf(digits, sizeof digits, "%" PRIu64, count);
    for (int i = 0; i < length; i++) {
        if (i && (length - i) % 3 == 0)
            *to++ = ',';
        *to++ = digits[i];
    }
    *to = '\0';
    return text;
}

const char *words_percent(uint64_t part, uint64_t whole)
{
    char *text = next_buffer();
    snprintf(text, LENGTH, "%.1f %%", whole ? 100.0 * (double)part / (double)whole : 0.0);
    return text;
}

const char *words_address(uint64_t address)
{
    char *text = next_buffer();
    snprintf(text, LENGTH, "0x%" PRIx64, address);
    return text;
}

const char *words_other_copies(unsigned count)
{
    if (count == 1)
        return "Another copy of Quarry is in this process, and has a heap of its own.";
    char *text = next_buffer();
    snprintf(text, LENGTH, "%s other copies of Quarry are in this process, and have heaps of their own.",
             words_count(count));
    return text;
}

void words_print_plain(FILE *out, const char *text, const char *allowed)
{
    for (const unsigned char *at = (const unsigned char *)text; *at; at++) {
        bool is_control = (*at < ' ' && !strchr(allowed, *at)) || *at == 0x7f;
        bool is_high_control = *at == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0; /* U+0080 to U+009F, in UTF-8 */
        fputc(is_control || is_high_control ? '?' : *at, out);
        at += is_high_control;
    }
}

bool words_number(const char *text, const char **end, uint64_t *number)
{
    bool is_hexadecimal = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
    const char *digits = text + (is_hexadecimal ? 2 : 0);
    bool begins = is_hexadecimal ? isxdigit((unsigned char)digits[0])
                                 : isdigit((unsigned char)digits[0]) &&
                                       (digits[0] != '0' || !isdigit((unsigned char)digits[1]));
    char *behind = (char *)text;
    errno = 0;
    if (begins)
        *number = strtoull(digits, &behind, is_hexadecimal ? 16 : 10);
    *end = behind;
    return begins && errno == 0;
}
