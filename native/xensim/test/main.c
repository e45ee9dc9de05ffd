/* SPDX-License-Identifier: MIT */
/* Runs every test on a fresh host: xensim-test [NAME-PART]. */
#include "test.h"

#include <signal.h>
#include <stdarg.h>
#include <unistd.h>

struct xensim *host;
char socket_path[64];
static const char *running;

int process_main(int argc, char **argv);

void test_fail(const char *file, int line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "FAILED %s\n  %s:%d: ", running ? running : "", file, line);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    if (host) {
        static char log[70000];
        xensim_console(host, log, sizeof log);
        fputs(log, stderr);
        unlink(socket_path);
    }
    _exit(1);
}

void host_restart(enum xensim_arch arch, unsigned spin_us)
{
    struct xensim_config config = {
        .socket_path = socket_path, .vcpus = TEST_VCPUS, .memory = TEST_RAM, .arch = arch,
        .spin_us = spin_us,
    };
    xensim_free(host);
    host = NULL;
    if (xensim_start(&config, &host))
        test_fail(__FILE__, __LINE__, "xensim_start: errno %d", errno);
    xensim_unpause(host);
}

static void on_alarm(int signal)
{
    (void)signal;
    static const char text[] = "a test hangs: ";
    (void)!write(2, text, sizeof text - 1);
    (void)!write(2, running, strlen(running));
    unlink(socket_path);
    _exit(1);
}

int main(int argc, char **argv)
{
    if (argc > 2 && !strcmp(argv[1], "process"))
        return process_main(argc - 2, argv + 2);
    const struct test *groups[] = {
        server_tests, evtchn_tests, request_tests, rep_tests, ring_tests, memory_tests, irq_tests,
        mmcfg_tests, life_tests, arm_tests, process_tests,
    };
    snprintf(socket_path, sizeof socket_path, "/tmp/xensim-test.%d", (int)getpid());
    setenv(WIRE_SOCKET_ENV, socket_path, 1);
    signal(SIGALRM, on_alarm);
    unsigned passed = 0;
    for (unsigned g = 0; g < sizeof groups / sizeof groups[0]; g++) {
        for (const struct test *t = groups[g]; t->name; t++) {
            if (argc > 1 && !strstr(t->name, argv[1]))
                continue;
            running = t->name;
            host_restart(XENSIM_X86, passed % 2 ? XENSIM_SPIN_US : 0); /* both ways to wait */
            alarm(60); /* a test that hangs ends the run */
            t->run();
            passed++;
        }
    }
    xensim_free(host);
    printf("xensim: %u tests passed\n", passed);
    return 0;
}
