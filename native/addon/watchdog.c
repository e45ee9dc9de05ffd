/* SPDX-License-Identifier: MIT */
/*
 * A thread that ends the process when one transaction has been executing for longer than a limit: the main thread hangs
 * in a handler, and nothing on it can say so. What it was doing stands in the memory it watches, for the next process.
 *
 * It looks SAMPLES times a limit, and counts how often in a row it found the same transaction. A process that was
 * stopped (SIGSTOP, a debugger, a laptop's lid) or got no processor is not one that hangs: a look that comes late begins
 * the count anew.
 */
#include "addon.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { SAMPLES = 4 };
enum { EXECUTING = 1 }; /* src/state/format.ts, PHASE */
enum { FAULT = 70 };    /* sysexits.h, EX_SOFTWARE: the supervisor starts another process */

struct watchdog {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t stop;
    bool stopping, joined;
    uint32_t limit_ms;
    /* Words of 32 bits: the phase of each record, `stride` apart, and the one that changes with each transaction. */
    const int32_t *phases, *transaction;
    uint32_t stride, records;
    napi_ref memory; /* keeps it while the thread looks at it */
};

static int64_t milliseconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* The record that executes now, or -1. */
static int64_t executing(const struct watchdog *w)
{
    for (uint32_t record = 0; record < w->records; record++)
        if (__atomic_load_n(&w->phases[record * w->stride], __ATOMIC_RELAXED) == EXECUTING)
            return record;
    return -1;
}

/* Source: proc(5), /proc/pid/status, TracerPid. */
static bool traced(void)
{
    char text[4096], *field;
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return false;
    text[n] = '\0';
    field = strstr(text, "\nTracerPid:");
    return field != NULL && atol(field + sizeof("\nTracerPid:") - 1) != 0;
}

static void end_process(const struct watchdog *w, int64_t record)
{
    struct pollfd out = { .fd = STDERR_FILENO, .events = POLLOUT };
    char line[256], whose[32];
    int length;

    if (record == (int64_t)w->records - 1)
        snprintf(whose, sizeof(whose), "work outside of requests");
    else
        snprintf(whose, sizeof(whose), "vCPU %d's request", (int)record);
    length = snprintf(line, sizeof(line),
                      "ioreqd: watchdog: %s has been executing for %.1f s: this process ends, the next one says what it was\n",
                      whose, w->limit_ms / 1000.0);
    /* A log that nobody reads may be what the main thread hangs in: don't wait for it as well. */
    if (length > 0 && poll(&out, 1, 0) == 1 && (out.revents & POLLOUT) != 0 && write(STDERR_FILENO, line, length) < 0)
        errno = 0;
    /* Not abort(): the guest waits, and a core file of all of V8 takes its time. */
    _exit(FAULT);
}

/* Returns false when the time is up, true when the thread is to end. */
static bool wait_or_stop(struct watchdog *w, uint32_t ms)
{
    struct timespec until;
    bool stopping;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    pthread_mutex_lock(&w->lock);
    while (!w->stopping && pthread_cond_timedwait(&w->stop, &w->lock, &until) != ETIMEDOUT)
        ;
    stopping = w->stopping;
    pthread_mutex_unlock(&w->lock);
    return stopping;
}

static void *watch(void *data)
{
    struct watchdog *w = data;
    uint32_t interval = w->limit_ms / SAMPLES > 0 ? w->limit_ms / SAMPLES : 1;
    int64_t last_record = -1, looked = milliseconds();
    int32_t last_transaction = 0;
    int same = 0;

    while (!wait_or_stop(w, interval)) {
        int64_t now = milliseconds(), record = executing(w);
        int32_t transaction = __atomic_load_n(w->transaction, __ATOMIC_RELAXED);
        /* It was to be one interval; half of one more is within what a busy host does to a thread. */
        bool late = now - looked > (int64_t)interval + interval / 2 + 50;

        same = record >= 0 && record == last_record && transaction == last_transaction && !late ? same + 1 : 0;
        last_record = record;
        last_transaction = transaction;
        looked = now;
        if (same < SAMPLES)
            continue;
        if (!traced())
            end_process(w, record);
        same = 0;
    }
    return NULL;
}

static void stop(napi_env env, struct watchdog *w)
{
    if (w->joined)
        return;
    pthread_mutex_lock(&w->lock);
    w->stopping = true;
    pthread_cond_signal(&w->stop);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    w->joined = true;
    napi_delete_reference(env, w->memory);
}

static void collected(napi_env env, void *data, void *hint)
{
    struct watchdog *w = data;

    (void)hint;
    stop(env, w);
    pthread_cond_destroy(&w->stop);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

/* The thread gets no signals: they are for the main one. Returns 0 or an errno. */
static int start(struct watchdog *w)
{
    pthread_condattr_t monotonic;
    sigset_t all, before;
    int error;

    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&w->stop, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&w->lock, NULL);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&w->thread, NULL, watch, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

/*
 * watchdogStart(memory: ArrayBuffer, phases, stride, records, transaction, limitMs): handle
 *
 * `phases` is the index of the first record's phase, `stride` how many words further the next one is, `transaction` the
 * index of the word that changes with each transaction; all in words of 32 bits. The last record is that of work
 * outside of requests.
 */
napi_value watchdog_start(napi_env env, napi_callback_info info)
{
    enum { PHASES = 1, STRIDE, RECORDS, TRANSACTION, LIMIT, ARGUMENTS };
    size_t argc = ARGUMENTS, length;
    napi_value argv[ARGUMENTS], handle;
    uint32_t number[ARGUMENTS];
    struct watchdog *w;
    void *data;

    if (napi_get_cb_info(env, info, &argc, argv, NULL, NULL) != napi_ok || argc != ARGUMENTS ||
        napi_get_arraybuffer_info(env, argv[0], &data, &length) != napi_ok)
        return throw_code(env, "EINVAL", "watchdogStart needs an ArrayBuffer and five numbers");
    for (int i = PHASES; i < ARGUMENTS; i++)
        if (napi_get_value_uint32(env, argv[i], &number[i]) != napi_ok)
            return throw_code(env, "EINVAL", "watchdogStart needs an ArrayBuffer and five numbers");
    if (number[RECORDS] == 0 || number[LIMIT] == 0 || number[TRANSACTION] >= length / sizeof(int32_t) ||
        number[PHASES] + (uint64_t)(number[RECORDS] - 1) * number[STRIDE] >= length / sizeof(int32_t))
        return throw_code(env, "EINVAL", "watchdogStart: these words are not in the buffer");
    w = calloc(1, sizeof(*w));
    if (w == NULL)
        return throw_code(env, "ENOMEM", "watchdogStart: no memory");
    w->phases = (const int32_t *)data + number[PHASES];
    w->transaction = (const int32_t *)data + number[TRANSACTION];
    w->stride = number[STRIDE];
    w->records = number[RECORDS];
    w->limit_ms = number[LIMIT];
    if (napi_create_reference(env, argv[0], 1, &w->memory) != napi_ok) {
        free(w);
        return throw_code(env, "ENOMEM", "watchdogStart: no memory");
    }
    if (start(w) != 0) {
        napi_delete_reference(env, w->memory);
        free(w);
        return throw_code(env, "EAGAIN", "watchdogStart: no thread");
    }
    if (napi_create_external(env, w, collected, NULL, &handle) != napi_ok) {
        collected(env, w, NULL);
        return throw_code(env, "ENOMEM", "watchdogStart: no memory");
    }
    return handle;
}

/* watchdogStop(handle): void. Afterwards the memory may go. A second call does nothing. */
napi_value watchdog_stop(napi_env env, napi_callback_info info)
{
    size_t argc = 1;
    napi_value handle;
    void *w;

    if (napi_get_cb_info(env, info, &argc, &handle, NULL, NULL) != napi_ok || argc != 1 ||
        napi_get_value_external(env, handle, &w) != napi_ok)
        return throw_code(env, "EINVAL", "watchdogStop needs what watchdogStart returned");
    stop(env, w);
    return NULL;
}
