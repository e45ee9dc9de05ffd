/* SPDX-License-Identifier: MIT */
/*
 * What the agent is told to do. Numbers are hexadecimal; W is a width in bytes.
 *
 *     in W PORT [N]          out W PORT VALUE         ports; N reads in a row
 *     ld W GPA [N]           st W GPA VALUE           physical memory
 *     ins W PORT GPA N [down] outs W PORT GPA N [down] rep instructions, `down`: backwards; how many were moved
 *     movs W TO FROM N [down]
 *     cr W BDF OFFSET        cw W BDF OFFSET VALUE    configuration space by ports CF8 and CFC
 *     sr W BDF OFFSET        sw W BDF OFFSET VALUE    the same by sysfs
 *     rb GPA LENGTH          wb GPA BYTES             a copy of memory
 *     irq BDF SEEN MS        irqs BDF                 interrupts: by uio, and in /proc/interrupts
 *     bind BDF DRIVER        hello                    vCPUs, and RAM that the kernel does not know
 *     sh COMMAND                                      status, and output, both streams; escaped
 *
 * N values are given as the first, then the difference to the one before, `*n` for n equal ones.
 */
#ifndef GUEST_OPERATIONS_H
#define GUEST_OPERATIONS_H

#include <sys/wait.h>

#include "interrupts.h"

static unsigned vcpus;

/* ---- series ---- */

struct series {
    struct text *out;
    uint64_t mask, before, step, run;
};

static inline void series_flush(struct series *s)
{
    if (s->run)
        text_add(s->out, s->run > 1 ? ",%llx*%llx" : ",%llx", (unsigned long long)s->step, (unsigned long long)s->run);
    s->run = 0;
}

static inline void series_add(struct series *s, uint64_t value, bool first)
{
    if (first) {
        text_add(s->out, "%llx", (unsigned long long)value);
    } else {
        uint64_t step = (value - s->before) & s->mask;
        if (s->run && step != s->step)
            series_flush(s);
        s->step = step;
        s->run++;
    }
    s->before = value;
}

static inline const char *reads(struct text *out, unsigned width, uint64_t count, uint16_t port, const void *at)
{
    struct series s = {.out = out, .mask = width == 8 ? UINT64_MAX : (UINT64_C(1) << 8 * width) - 1};
    for (uint64_t i = 0; i < count; i++) {
        uint64_t value = 0;
        const char *error = at ? load(width, at, &value) : port_in(width, port, &value);
        if (error)
            return error;
        series_add(&s, value, i == 0);
    }
    series_flush(&s);
    return NULL;
}

/* ---- memory ---- */

static inline const char *memory_operation(struct text *out, const char *name, unsigned width, uint64_t gpa, uint64_t value)
{
    struct window w;
    const char *error = window_open(&w, gpa, width);
    if (error)
        return error;
    error = *name == 'l' ? reads(out, width, value ? value : 1, 0, w.at) : store(width, w.at, value);
    window_close(&w);
    return error;
}

/* `rep` over memory: the bytes that `count` elements take, of which a backwards one gives the last. */
static inline const char *rep_window(struct window *w, uint64_t gpa, unsigned width, uint64_t count, bool backwards, void **at)
{
    uint64_t before = backwards ? (count - 1) * width : 0;
    const char *error = window_open(w, gpa - before, width * count);
    *at = w->at + before;
    return error;
}

static inline const char *rep_operation(struct text *out, const char *name, unsigned width, uint64_t to, uint64_t from,
                                 uint64_t count, bool backwards)
{
    struct window a, b;
    void *first, *second;
    const char *error = rep_window(&a, *name == 'm' ? to : from, width, count, backwards, &first);
    if (error)
        return error;
    if (!strcmp(name, "ins")) {
        error = rep_ins(width, (uint16_t)to, first, &count, backwards);
    } else if (!strcmp(name, "outs")) {
        error = rep_outs(width, (uint16_t)to, first, &count, backwards);
    } else if (!(error = rep_window(&b, from, width, count, backwards, &second))) {
        error = rep_movs(width, first, second, &count, backwards);
        window_close(&b);
    }
    window_close(&a);
    if (!error)
        text_add(out, "%llx", (unsigned long long)count);
    return error;
}

static inline const char *copy_out(struct text *out, uint64_t gpa, uint64_t length)
{
    struct window w;
    const char *error = window_open(&w, gpa, length);
    if (error)
        return error;
    for (uint64_t i = 0; i < length; i++)
        text_add(out, "%02x", w.at[i]);
    window_close(&w);
    return NULL;
}

static inline const char *copy_in(uint64_t gpa, const char *digits)
{
    struct window w;
    size_t length = strlen(digits) / 2;
    const char *error = window_open(&w, gpa, length);
    if (error)
        return error;
    for (size_t i = 0; i < length; i++) {
        char byte[] = {digits[2 * i], digits[2 * i + 1], 0};
        w.at[i] = (unsigned char)strtoul(byte, NULL, 16);
    }
    window_close(&w);
    return NULL;
}

/* ---- the rest ---- */

/* RAM above the kernel's `mem=`, as the firmware told it. */
static inline void spare_ram(uint64_t *first, uint64_t *end)
{
    char text[4096] = "", path[80];
    FILE *file = fopen("/proc/cmdline", "re");
    char *limit = file && fgets(text, sizeof text, file) ? strstr(text, "mem=") : NULL;
    *first = limit ? strtoull(limit + 4, NULL, 10) << 20 : UINT64_MAX;
    *end = 0;
    if (file)
        fclose(file);
    for (unsigned i = 0; i < 64; i++) {
        uint64_t range[2] = {0};
        for (unsigned bound_at = 0; bound_at < 2; bound_at++) {
            snprintf(path, sizeof path, "/sys/firmware/memmap/%u/%s", i, bound_at ? "end" : "start");
            if (!(file = fopen(path, "re")))
                break;
            if (fgets(text, sizeof text, file))
                range[bound_at] = strtoull(text, NULL, 16);
            fclose(file);
        }
        if (range[0] <= *first && *first < range[1])
            *end = range[1] + 1;
    }
}

static inline const char *run_shell(struct text *out, char *command)
{
    unescape(command);
    struct text wrapped = {0}, said = {0};
    text_add(&wrapped, "{ %s\n} 2>&1 < /dev/null", command);
    FILE *pipe = popen(wrapped.bytes, "re");
    free(wrapped.bytes);
    if (!pipe)
        return "NO_SHELL";
    char buffer[4096];
    for (size_t n; (n = fread(buffer, 1, sizeof buffer, pipe)) > 0;)
        text_add_escaped(&said, (unsigned char *)buffer, n);
    int status = pclose(pipe);
    text_add(out, "%x %s", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), said.bytes ? said.bytes : "");
    free(said.bytes);
    return NULL;
}

static inline bool is(const char *a, const char *b)
{
    return !strcmp(a, b);
}

/* One operation; returns an error, or NULL with the result added to `out`. */
static inline const char *operate(struct text *out, char *text)
{
    bool ok = true;
    uint64_t value = 0, n[4] = {0};
    char *name = next_word(&text);
    if (!name)
        return "EMPTY";
    if (is(name, "sh"))
        return run_shell(out, text ? text : "");
    if (is(name, "hello")) {
        spare_ram(&n[0], &n[1]);
        text_add(out, "%x %llx %llx", vcpus, (unsigned long long)n[0], (unsigned long long)n[1]);
        return NULL;
    }
    n[0] = next_number(&text, &ok);
    if (is(name, "wb") || is(name, "bind")) {
        char *word = next_word(&text);
        return !ok || !word ? "USAGE" : is(name, "wb") ? copy_in(n[0], word) : bind_function((uint32_t)n[0], word);
    }
    unsigned given = 1;
    bool backwards = false;
    for (char *word; (word = next_word(&text));) {
        if (is(word, "down"))
            backwards = true;
        else if (given < 4)
            n[given++] = next_number(&word, &ok);
    }
    unsigned width = (unsigned)n[0];
    const char *error = "USAGE";
    if (!ok)
        return error;
    if (is(name, "irqs")) {
        error = proc_interrupts((uint32_t)n[0], &value);
    } else if (is(name, "irq") && given == 3) {
        error = wait_interrupt((uint32_t)n[0], (uint32_t)n[1], (int)n[2], &value);
    } else if (is(name, "rb") && given == 2) {
        return copy_out(out, n[0], n[1]);
    } else if (!width || width > 8 || width & (width - 1)) {
        return error;
    } else if (is(name, "ld") || (is(name, "st") && given == 3)) {
        return memory_operation(out, name, width, n[1], n[2]);
    } else if (given == 4 && n[3] && (is(name, "ins") || is(name, "outs") || is(name, "movs"))) {
        return rep_operation(out, name, width, n[1], n[2], n[3], backwards);
    } else if (width > 4) {
        return error;
    } else if (is(name, "in")) {
        return reads(out, width, n[2] ? n[2] : 1, (uint16_t)n[1], NULL);
    } else if (is(name, "out") && given == 3) {
        return port_out(width, (uint16_t)n[1], n[2]);
    } else if (is(name, "cr") && given == 3) {
        error = config_read(width, (uint32_t)n[1], (uint32_t)n[2], &value);
    } else if (is(name, "cw") && given == 4) {
        return config_write(width, (uint32_t)n[1], (uint32_t)n[2], n[3]);
    } else if (is(name, "sr") && given == 3) {
        error = sysfs_config(false, width, (uint32_t)n[1], (uint32_t)n[2], &value);
    } else if (is(name, "sw") && given == 4) {
        return sysfs_config(true, width, (uint32_t)n[1], (uint32_t)n[2], &n[3]);
    }
    if (!error)
        text_add(out, "%llx", (unsigned long long)value);
    return error;
}

#endif
