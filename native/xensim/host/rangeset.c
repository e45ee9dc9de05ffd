/* SPDX-License-Identifier: MIT */
/* Sets of inclusive ranges. Adjacent ranges are one range. Source: Xen common/rangeset.c. */
#include "internal.h"

#include <errno.h>
#include <string.h>

/* Index of the first range that ends at or after `at`. */
static unsigned find(const struct rangeset *r, uint64_t at)
{
    unsigned low = 0, high = r->count;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (r->range[middle].end < at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool rangeset_contains(const struct rangeset *r, uint64_t start, uint64_t end)
{
    unsigned i = find(r, start);
    return i < r->count && r->range[i].start <= start && r->range[i].end >= end;
}

bool rangeset_overlaps(const struct rangeset *r, uint64_t start, uint64_t end)
{
    unsigned i = find(r, start);
    return i < r->count && r->range[i].start <= end;
}

static void erase(struct rangeset *r, unsigned i)
{
    r->count--;
    memmove(&r->range[i], &r->range[i + 1], (r->count - i) * sizeof r->range[0]);
}

/* The caller has seen to it that nothing overlaps. ENOMEM is what rangeset_limit() leads to. */
int rangeset_add(struct rangeset *r, uint64_t start, uint64_t end)
{
    unsigned i = find(r, start);
    bool joins_left = i > 0 && r->range[i - 1].end + 1 == start;
    bool joins_right = i < r->count && end + 1 == r->range[i].start;

    if (joins_left && joins_right) {
        r->range[i - 1].end = r->range[i].end;
        erase(r, i);
    } else if (joins_left) {
        r->range[i - 1].end = end;
    } else if (joins_right) {
        r->range[i].start = start;
    } else {
        if (r->count == MAX_NR_IO_RANGES)
            return ENOMEM;
        memmove(&r->range[i + 1], &r->range[i], (r->count - i) * sizeof r->range[0]);
        r->range[i].start = start;
        r->range[i].end = end;
        r->count++;
    }
    return 0;
}

/* The caller has seen to it that one range contains all of it. */
int rangeset_remove(struct rangeset *r, uint64_t start, uint64_t end)
{
    unsigned i = find(r, start);
    if (r->range[i].start == start && r->range[i].end == end) {
        erase(r, i);
    } else if (r->range[i].start == start) {
        r->range[i].start = end + 1;
    } else if (r->range[i].end == end) {
        r->range[i].end = start - 1;
    } else {
        if (r->count == MAX_NR_IO_RANGES)
            return ENOMEM;
        memmove(&r->range[i + 1], &r->range[i], (r->count - i) * sizeof r->range[0]);
        r->count++;
        r->range[i].end = start - 1;
        r->range[i + 1].start = end + 1;
    }
    return 0;
}
