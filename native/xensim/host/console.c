/* SPDX-License-Identifier: MIT */
/* Xen's log: a bounded buffer that forgets its oldest lines first, as conring does. */
#include "internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONSOLE_SIZE 65536

void console_log(struct xensim *x, const char *format, ...)
{
    char line[256] = "(XEN) ";
    va_list args;
    va_start(args, format);
    vsnprintf(line + 6, sizeof line - 8, format, args);
    va_end(args);
    size_t length = strlen(line);
    line[length++] = '\n';

    pthread_mutex_lock(&x->console_lock);
    if (!x->console)
        x->console = malloc(CONSOLE_SIZE);
    if (x->console) {
        if (x->console_used + length > CONSOLE_SIZE) {
            size_t drop = x->console_used + length - CONSOLE_SIZE;
            char *end = memchr(x->console + drop - 1, '\n', x->console_used - drop + 1);
            drop = end ? (size_t)(end - x->console) + 1 : x->console_used;
            memmove(x->console, x->console + drop, x->console_used - drop);
            x->console_used -= drop;
        }
        memcpy(x->console + x->console_used, line, length);
        x->console_used += length;
    }
    pthread_mutex_unlock(&x->console_lock);
}

size_t xensim_console(struct xensim *x, char *buf, size_t len)
{
    if (!len)
        return 0;
    pthread_mutex_lock(&x->console_lock);
    /* When the buffer is too small the newest lines are the ones worth having. */
    size_t n = x->console_used < len - 1 ? x->console_used : len - 1;
    if (n)
        memcpy(buf, x->console + x->console_used - n, n);
    pthread_mutex_unlock(&x->console_lock);
    buf[n] = '\0';
    return n;
}
