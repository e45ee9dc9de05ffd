/* SPDX-License-Identifier: MIT */
/*
 * What an access costs, of two functions in turn.
 *
 *     bench config BDF BDF [ROUNDS [COUNT]]       reads of register 0 by ports CF8 and CFC
 *     bench mmio ADDRESS ADDRESS [ROUNDS [COUNT]] loads of four bytes
 *     bench port PORT PORT [ROUNDS [COUNT]]       one-byte reads
 *
 * ROUNDS rounds (21) of COUNT accesses (50), first one then the other, so that what slows the machine
 * down slows both. One line of JSON: nanoseconds an access, medians over rounds, and second : first.
 * BDFs as 00:10.0, numbers as C has them.
 */
#define _GNU_SOURCE
#include <time.h>

#include "access.h"

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    double difference = *(const double *)a - *(const double *)b;
    return (difference > 0) - (difference < 0);
}

static double median(double *values, unsigned count)
{
    qsort(values, count, sizeof *values, by_value);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

struct target {
    enum { CONFIG, MMIO, PORT } kind;
    uint32_t bdf;
    uint16_t port;
    volatile uint32_t *at;
};

static bool open_target(struct target *t, const char *kind, const char *where)
{
    unsigned bus, device, function;
    if (!strcmp(kind, "config")) {
        if (sscanf(where, "%x:%x.%x", &bus, &device, &function) != 3)
            return false;
        *t = (struct target){.kind = CONFIG, .bdf = bus << 8 | device << 3 | function};
        return true;
    }
    uint64_t value = strtoull(where, NULL, 0);
    struct window w;
    if (!strcmp(kind, "port")) {
        *t = (struct target){.kind = PORT, .port = (uint16_t)value};
        return true;
    }
    if (strcmp(kind, "mmio") || window_open(&w, value, 4))
        return false;
    *t = (struct target){.kind = MMIO, .at = (volatile uint32_t *)w.at};
    return true;
}

/* No lock and no second look at CF8: this program is the only one that uses it meanwhile. */
static double round_of(const struct target *t, unsigned count)
{
    double began = now_ns();
    for (unsigned i = 0; i < count; i++) {
        if (t->kind == CONFIG) {
            outl(0x80000000u | t->bdf << 8, CF8);
            inl(CFC);
        } else if (t->kind == PORT) {
            inb(t->port);
        } else {
            (void)*t->at;
        }
    }
    return (now_ns() - began) / count;
}

int main(int argc, char **argv)
{
    struct target target[2];
    unsigned rounds = argc > 4 ? (unsigned)atoi(argv[4]) : 21, count = argc > 5 ? (unsigned)atoi(argv[5]) : 50;
    if (argc < 4 || !rounds || !count || iopl(3) || !open_target(&target[0], argv[1], argv[2]) ||
        !open_target(&target[1], argv[1], argv[3])) {
        fprintf(stderr, "bench: config|mmio|port FIRST SECOND [ROUNDS [COUNT]]: %s\n", strerror(errno));
        return 2;
    }
    double *ns[2] = {calloc(rounds, sizeof(double)), calloc(rounds, sizeof(double))};
    for (unsigned which = 0; which < 2; which++)
        round_of(&target[which], count); /* not counted */
    for (unsigned i = 0; i < rounds; i++)
        for (unsigned which = 0; which < 2; which++)
            ns[which][i] = round_of(&target[which], count);
    double first = median(ns[0], rounds), second = median(ns[1], rounds);
    printf("{\"kind\":\"%s\",\"first\":\"%s\",\"second\":\"%s\",\"rounds\":%u,\"count\":%u,"
           "\"firstNs\":%.0f,\"secondNs\":%.0f,\"ratio\":%.3f}\n",
           argv[1], argv[2], argv[3], rounds, count, first, second, second / first);
    return 0;
}
