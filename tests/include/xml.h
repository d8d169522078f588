/*
 * xml: whether a text is well-formed XML, for the plain part of it that malloc_info writes: elements,
 * attributes and text; no comments, entities, CDATA or processing instructions.
 */
#ifndef XML_H
#define XML_H

#include <ctype.h>
#include <stddef.h>
#include <string.h>

enum { XML_DEPTH_MAX = 32, XML_NAME_MAX = 64 };

struct xml_scan {
    const char *at;
    char open[XML_DEPTH_MAX][XML_NAME_MAX];
    int depth;
    int roots;
};

static inline int xml_name(struct xml_scan *x, char *name)
{
    size_t n = 0;
    while (isalnum((unsigned char)*x->at) || *x->at == '_' || *x->at == '-' || *x->at == '.' ||
           *x->at == ':') {
        if (n == XML_NAME_MAX - 1)
            return 0;
        name[n++] = *x->at++;
    }
    name[n] = 0;
    return n > 0 && !isdigit((unsigned char)name[0]);
}

static inline void xml_space(struct xml_scan *x)
{
    while (isspace((unsigned char)*x->at))
        x->at++;
}

/* The attributes of a start tag, up to its '>' or '/'. */
static inline const char *xml_attributes(struct xml_scan *x)
{
    char name[XML_NAME_MAX];
    for (xml_space(x); *x->at != '>' && *x->at != '/'; xml_space(x)) {
        if (!xml_name(x, name))
            return "bad attribute name";
        if (*x->at++ != '=' || *x->at++ != '"')
            return "attribute without a quoted value";
        const char *end = strpbrk(x->at, "\"<");
        if (!end || *end == '<')
            return "attribute value does not end";
        x->at = end + 1;
    }
    return NULL;
}

static inline const char *xml_tag(struct xml_scan *x)
{
    char name[XML_NAME_MAX];
    int closing = *x->at == '/';
    x->at += closing;
    if (!xml_name(x, name))
        return "bad element name";
    if (closing) {
        xml_space(x);
        if (*x->at++ != '>' || x->depth == 0 || strcmp(name, x->open[--x->depth]) != 0)
            return "closing tag does not match";
        return NULL;
    }
    const char *error = xml_attributes(x);
    if (error)
        return error;
    if (x->depth == 0 && x->roots++)
        return "more than one root";
    if (*x->at == '/')
        return x->at++, *x->at++ == '>' ? NULL : "bad empty tag";
    x->at++;
    if (x->depth == XML_DEPTH_MAX)
        return "too deep";
    strcpy(x->open[x->depth++], name);
    return NULL;
}

/* What is wrong with the text, or NULL. */
static inline const char *xml_error(const char *text)
{
    struct xml_scan x = {.at = text};
    while (*x.at) {
        if (*x.at == '<') {
            x.at++;
            const char *error = xml_tag(&x);
            if (error)
                return error;
        } else if (*x.at == '&' || (x.depth == 0 && !isspace((unsigned char)*x.at))) {
            return "stray text";
        } else {
            x.at++;
        }
    }
    return x.depth ? "not closed" : x.roots ? NULL : "empty";
}

#endif
