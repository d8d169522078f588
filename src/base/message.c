#include "base/message.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/kernel.h"
#include "base/probe.h"

void qy_text_add_bytes(struct qy_text *text, const char *bytes, size_t count)
{
    count = qy_min(count, sizeof text->bytes - text->length);
    memcpy(text->bytes + text->length, bytes, count);
    text->length += count;
}

void qy_text_add(struct qy_text *text, const char *string)
{
    qy_text_add_bytes(text, string, strlen(string));
}

static void add_number(struct qy_text *text, uint64_t value, unsigned base)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value != 0);
    qy_text_add_bytes(text, digits + at, sizeof digits - at);
}

void qy_text_add_hex(struct qy_text *text, uintptr_t value)
{
    qy_text_add(text, "0x");
    add_number(text, value, 16);
}

void qy_text_add_decimal(struct qy_text *text, uint64_t value)
{
    add_number(text, value, 10);
}

void qy_text_say(struct qy_text *text)
{
    size_t done = 0;
    while (done < text->length) {
        /* write would be a cancellation point, and locks may be held. */
        long n = qy_kernel(SYS_write, STDERR_FILENO, (long)(text->bytes + done), (long)(text->length - done));
        if (n == -EINTR)
            continue;
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    text->length = 0;
}

void qy_fatal(const char *check, const void *address, const char *detail)
{
    QY_PROBE(GATE, REFUSED, address, 0);
    struct qy_text text = {0};
    qy_text_add(&text, "quarry: ");
    qy_text_add(&text, check);
    qy_text_add(&text, ": ");
    qy_text_add_hex(&text, (uintptr_t)address);
    qy_text_add(&text, ": ");
    qy_text_add(&text, detail);
    qy_text_add(&text, "\n");
    qy_text_say(&text);
    abort();
}

void qy_assert_failed(const char *cond, const char *file, int line)
{
    struct qy_text text = {0};
    qy_text_add(&text, "quarry: assertion failed: ");
    qy_text_add(&text, cond);
    qy_text_add(&text, " (");
    qy_text_add(&text, file);
    qy_text_add(&text, ":");
    qy_text_add_decimal(&text, (uint64_t)line);
    qy_text_add(&text, ")\n");
    qy_text_say(&text);
    abort();
}
