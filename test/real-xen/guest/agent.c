/* SPDX-License-Identifier: MIT */
/*
 * Executes accesses on command, in a Linux guest, over its PV console.
 *
 *     @>ID VCPU OPERATION[;OPERATION...] #SUM      a request, one line
 *     @<ID RESULT[;RESULT...] #SUM                 its reply
 *
 * SUM is the FNV-1a hash of what stands before the space in front of it: the kernel may print in the
 * middle of a line. A request that comes again under the ID of the one before is not executed again,
 * its reply is sent again. Each vCPU has a thread that is pinned to it, so several requests are under
 * way at once, one for each vCPU. VCPU ff is a thread for shell commands, which runs anywhere.
 * Numbers are hexadecimal. A result that begins with ! is an error, and ends the request.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <termios.h>

#include "operations.h"

#define SHELL 0xff
#define MAX_VCPUS 128
#define MAX_LINE (1 << 17)

struct worker {
    unsigned vcpu;
    pthread_mutex_t lock;
    pthread_cond_t given;
    char *line;
    bool busy;
    uint32_t id;
    struct text reply;
};

static struct worker workers[MAX_VCPUS + 1];
static int console;
static pthread_mutex_t console_lock = PTHREAD_MUTEX_INITIALIZER;

static void send_line(const char *bytes, size_t length)
{
    char end[16];
    snprintf(end, sizeof end, " #%08x\n", fnv(bytes, length));
    struct text line = {0};
    text_add(&line, "%.*s%s", (int)length, bytes, end);
    pthread_mutex_lock(&console_lock);
    for (size_t sent = 0; sent < line.length;) {
        ssize_t n = write(console, line.bytes + sent, line.length - sent);
        if (n > 0)
            sent += (size_t)n;
        else if (errno != EINTR && errno != EAGAIN)
            break;
    }
    pthread_mutex_unlock(&console_lock);
    free(line.bytes);
}

static void *work(void *context)
{
    struct worker *w = context;
    if (w->vcpu != SHELL) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(w->vcpu, &set);
        pthread_setaffinity_np(pthread_self(), sizeof set, &set);
    }
    for (;;) {
        pthread_mutex_lock(&w->lock);
        while (!w->line)
            pthread_cond_wait(&w->given, &w->lock);
        char *line = w->line, *rest = line;
        w->line = NULL;
        pthread_mutex_unlock(&w->lock);

        struct text reply = {0};
        text_add(&reply, "@<%x ", w->id);
        const char *separator = "", *error = NULL;
        for (char *one; !error && (one = strsep(&rest, ";")); separator = ";") {
            text_add(&reply, "%s", separator);
            if ((error = operate(&reply, one)))
                text_add(&reply, "!%s", error);
        }
        free(line);

        pthread_mutex_lock(&w->lock);
        free(w->reply.bytes);
        w->reply = reply;
        w->busy = false;
        pthread_mutex_unlock(&w->lock);
        send_line(reply.bytes, reply.length);
    }
    return NULL;
}

/* A line that is not whole is dropped: who sent it sends it again. */
static void take(char *line)
{
    char *start = strstr(line, "@>"), *sum = start ? strstr(start, " #") : NULL;
    if (!sum || strtoul(sum + 2, NULL, 16) != fnv(start, (size_t)(sum - start)))
        return;
    *sum = 0;
    char *rest = start + 2;
    bool ok = true;
    uint32_t id = (uint32_t)next_number(&rest, &ok);
    unsigned vcpu = (unsigned)next_number(&rest, &ok);
    if (!ok || !rest || (vcpu >= vcpus && vcpu != SHELL))
        return;
    struct worker *w = &workers[vcpu == SHELL ? MAX_VCPUS : vcpu];
    pthread_mutex_lock(&w->lock);
    if (w->id == id && !w->busy && w->reply.bytes) {
        send_line(w->reply.bytes, w->reply.length);
    } else if (!w->busy) {
        w->id = id;
        w->busy = true;
        w->line = strdup(rest);
        pthread_cond_signal(&w->given);
    }
    pthread_mutex_unlock(&w->lock);
}

static void start_worker(struct worker *w, unsigned vcpu)
{
    pthread_t thread;
    w->vcpu = vcpu;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->given, NULL);
    if (pthread_create(&thread, NULL, work, w))
        abort();
}

int main(int argc, char **argv)
{
    console = open(argc > 1 ? argv[1] : "/dev/hvc0", O_RDWR | O_NOCTTY | O_CLOEXEC);
    struct termios raw;
    if (console < 0 || tcgetattr(console, &raw)) {
        perror("agent: the console");
        return 1;
    }
    cfmakeraw(&raw);
    tcsetattr(console, TCSANOW, &raw);
    catch_faults();
    if (iopl(3))
        perror("agent: iopl");
    vcpus = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
    if (vcpus > MAX_VCPUS)
        vcpus = MAX_VCPUS;
    for (unsigned i = 0; i < vcpus; i++)
        start_worker(&workers[i], i);
    start_worker(&workers[MAX_VCPUS], SHELL);

    static char line[MAX_LINE], chunk[4096];
    for (size_t length = 0;;) {
        ssize_t n = read(console, chunk, sizeof chunk);
        if (n <= 0 && errno != EINTR)
            return 1;
        for (ssize_t i = 0; i < n; i++) {
            if (chunk[i] == '\n' || chunk[i] == '\r') {
                line[length] = 0;
                take(line);
                length = 0;
            } else if (length < sizeof line - 1) {
                line[length++] = chunk[i];
            }
        }
    }
}
