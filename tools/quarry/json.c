#include "json.h"

#include <inttypes.h>
#include <string.h>

void json_start(struct json *j, FILE *out, bool in_html)
{
    j->out = out;
    j->in_html = in_html;
    j->comma = false;
    j->used = 0;
}

static void flush(struct json *j)
{
    fwrite(j->buffer, 1, j->used, j->out);
    j->used = 0;
}

static void put(struct json *j, const char *bytes, size_t count)
{
    while (count) {
        if (j->used == sizeof j->buffer)
            flush(j);
        size_t part = sizeof j->buffer - j->used < count ? sizeof j->buffer - j->used : count;
        memcpy(j->buffer + j->used, bytes, part);
        j->used += part;
        bytes += part;
        count -= part;
    }
}

static void put_char(struct json *j, char c)
{
    put(j, &c, 1);
}

void json_end(struct json *j)
{
    put_char(j, '\n');
    flush(j);
}

static void value(struct json *j)
{
    if (j->comma)
        put_char(j, ',');
    j->comma = true;
}

void json_open(struct json *j, char bracket)
{
    value(j);
    put_char(j, bracket);
    j->comma = false;
}

void json_close(struct json *j, char bracket)
{
    put_char(j, bracket);
    j->comma = true;
}

/* The bytes of names and command lines are anything; what is no UTF-8 becomes U+FFFD. */
static unsigned utf8_length(const unsigned char *s)
{
    unsigned n = *s < 0x80                 ? 1
                 : *s >= 0xc2 && *s < 0xe0 ? 2
                 : (*s & 0xf0) == 0xe0     ? 3
                 : *s >= 0xf0 && *s < 0xf5 ? 4
                                           : 0;
    for (unsigned i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    bool bad = n == 3 && ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] >= 0xa0));
    bad |= n == 4 && ((s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] >= 0x90));
    return bad ? 0 : n;
}

static void put_escaped(struct json *j, const char *text)
{
    put_char(j, '"');
    for (const unsigned char *s = (const unsigned char *)text; *s;) {
        unsigned n = utf8_length(s);
        if (*s == '"' || *s == '\\') {
            put_char(j, '\\');
            put_char(j, (char)*s);
        } else if (*s < 0x20 || *s == 0x7f || (*s == '<' && j->in_html)) {
            char escape[8];
            put(j, escape, (size_t)snprintf(escape, sizeof escape, "\\u%04x", *s));
        } else if (n == 0) {
            put(j, "\\ufffd", 6);
            n = 1;
        } else {
            put(j, (const char *)s, n);
        }
        s += n;
    }
    put_char(j, '"');
}

void json_key(struct json *j, const char *name)
{
    value(j);
    put_escaped(j, name);
    put_char(j, ':');
    j->comma = false;
}

void json_text(struct json *j, const char *text)
{
    if (!text) {
        json_null(j);
        return;
    }
    value(j);
    put_escaped(j, text);
}

#define LARGEST_SAFE (((uint64_t)1 << 53) - 1)

void json_number(struct json *j, uint64_t n)
{
    char digits[24];
    size_t at = sizeof digits;
    if (n > LARGEST_SAFE) {
        snprintf(digits, sizeof digits, "0x%" PRIx64, n);
        json_text(j, digits);
        return;
    }
    do
        digits[--at] = (char)('0' + n % 10);
    while (n /= 10);
    value(j);
    put(j, digits + at, sizeof digits - at);
}

void json_signed(struct json *j, int64_t n)
{
    if (n >= 0 || n < -(int64_t)LARGEST_SAFE) {
        json_number(j, (uint64_t)n); /* a text for the latter: its 64 bits */
        return;
    }
    value(j);
    put_char(j, '-');
    j->comma = false;
    json_number(j, -(uint64_t)n);
}

void json_bool(struct json *j, bool b)
{
    value(j);
    put(j, b ? "true" : "false", b ? 4 : 5);
}

void json_null(struct json *j)
{
    value(j);
    put(j, "null", 4);
}

void json_base64(struct json *j, const void *bytes, size_t count)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *s = bytes;
    value(j);
    put_char(j, '"');
    for (size_t i = 0; i < count; i += 3) {
        size_t have = count - i < 3 ? count - i : 3;
        uint32_t word =
            (uint32_t)s[i] << 16 | (have > 1 ? (uint32_t)s[i + 1] << 8 : 0) | (have > 2 ? s[i + 2] : 0);
        char four[4] = {digits[word >> 18], digits[word >> 12 & 63], have > 1 ? digits[word >> 6 & 63] : '=',
                        have > 2 ? digits[word & 63] : '='};
        put(j, four, 4);
    }
    put_char(j, '"');
}

void json_line(struct json *j)
{
    put_char(j, '\n');
}

void json_member_text(struct json *j, const char *name, const char *text)
{
    json_key(j, name);
    json_text(j, text);
}

void json_member_number(struct json *j, const char *name, uint64_t n)
{
    json_key(j, name);
    json_number(j, n);
}

void json_member_bool(struct json *j, const char *name, bool b)
{
    json_key(j, name);
    json_bool(j, b);
}
