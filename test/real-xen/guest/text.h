/* SPDX-License-Identifier: MIT */
/*
 * Text that grows, and words of a line. The agent's numbers are hexadecimal without a prefix; bytes
 * that aren't plain are %xx, so that a line of the protocol has neither spaces nor line ends in a word.
 */
#ifndef GUEST_TEXT_H
#define GUEST_TEXT_H

#include <ctype.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct text {
    char *bytes;
    size_t length, room;
};

static inline void text_need(struct text *t, size_t more)
{
    if (t->length + more < t->room)
        return;
    t->room = (t->length + more) * 2;
    t->bytes = realloc(t->bytes, t->room);
    if (!t->bytes)
        abort();
}

static inline __attribute__((format(printf, 2, 3))) void text_add(struct text *t, const char *format, ...)
{
    va_list args;
    text_need(t, 64 + strlen(format));
    for (;;) {
        va_start(args, format);
        size_t wanted = (size_t)vsnprintf(t->bytes + t->length, t->room - t->length, format, args);
        va_end(args);
        if (t->length + wanted < t->room) {
            t->length += wanted;
            return;
        }
        text_need(t, wanted);
    }
}

static inline bool is_plain(unsigned char byte)
{
    return isalnum(byte) || strchr("_./-:,=+", byte);
}

static inline void text_add_escaped(struct text *t, const unsigned char *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        text_add(t, bytes[i] && is_plain(bytes[i]) ? "%c" : "%%%02x", bytes[i]);
}

/* In place. */
static inline void unescape(char *text)
{
    char *to = text;
    for (char *from = text; *from; to++) {
        if (from[0] == '%' && isxdigit((unsigned char)from[1]) && isxdigit((unsigned char)from[2])) {
            char digits[] = {from[1], from[2], 0};
            *to = (char)strtol(digits, NULL, 16);
            from += 3;
        } else {
            *to = *from++;
        }
    }
    *to = 0;
}

/* FNV-1a, 32 bits. Source: draft-eastlake-fnv, section 2. */
static inline uint32_t fnv(const char *bytes, size_t length)
{
    uint32_t hash = 0x811c9dc5;
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (unsigned char)bytes[i]) * 0x01000193;
    return hash;
}

/* The next word, which is ended in place; NULL at the end. */
static inline char *next_word(char **rest)
{
    char *word;
    while ((word = strsep(rest, " ")) && !*word)
        ;
    return word;
}

/* The next word as a number; *ok becomes false where there is none. */
static inline uint64_t next_number(char **rest, bool *ok)
{
    char *word = next_word(rest), *end;
    if (!word) {
        *ok = false;
        return 0;
    }
    uint64_t value = strtoull(word, &end, 16);
    if (*end)
        *ok = false;
    return value;
}

#endif
