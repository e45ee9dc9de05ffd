// SPDX-License-Identifier: MIT
/*
 * Runs commands in dom0 for the host outside. Frames go both ways over a virtio
 * serial port; all numbers are little-endian:
 *
 *   u32 length of the payload, u32 id, u8 kind, payload
 *
 *   host to dom0   R  run the payload with bash        K  signal (u8) to the command's session
 *                  W  write what follows the payload's first 0 to the file that is named before it
 *   dom0 to host   H  the agent has started            O/E  output / error output
 *                  X  i32: exit status, or minus the signal that ended it
 *
 * Commands run side by side, each in a session of its own with /dev/null as its
 * input. One is over when its first process ends: what that left in the background
 * goes on, but is not listened to any more.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define PORT_NAME "ioreqd.lab"
#define HEADER 9
#define LONGEST_COMMAND (1u << 20)
#define MOST_COMMANDS 64

struct command {
    uint32_t id;
    pid_t pid;
    int pipes[2]; /* its output, its error output; -1 once closed */
};

static struct command commands[MOST_COMMANDS]; /* pid 0: a free place */
static int port = -1;

static void die(const char *what)
{
    fprintf(stderr, "lab agent: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* udev may not run yet: the port is found by the name that QEMU gave it. */
static int open_port(void)
{
    DIR *class = opendir("/sys/class/virtio-ports");
    struct dirent *entry;
    char path[600], name[64];
    int found = -1;

    while (class != NULL && found < 0 && (entry = readdir(class)) != NULL) {
        snprintf(path, sizeof path, "/sys/class/virtio-ports/%s/name", entry->d_name);
        FILE *file = fopen(path, "r");
        if (file == NULL) continue;
        if (fgets(name, sizeof name, file) != NULL && strncmp(name, PORT_NAME, strlen(PORT_NAME)) == 0) {
            snprintf(path, sizeof path, "/dev/%s", entry->d_name);
            found = open(path, O_RDWR | O_CLOEXEC);
        }
        fclose(file);
    }
    if (class != NULL) closedir(class);
    return found;
}

static void put_u32(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++) at[i] = value >> (8 * i);
}

static uint32_t get_u32(const uint8_t *at)
{
    return at[0] | at[1] << 8 | at[2] << 16 | (uint32_t)at[3] << 24;
}

static void send_frame(char kind, uint32_t id, const void *payload, uint32_t length)
{
    static uint8_t frame[HEADER + 65536];

    put_u32(frame, length);
    put_u32(frame + 4, id);
    frame[8] = kind;
    memcpy(frame + HEADER, payload, length);
    for (size_t sent = 0; sent < HEADER + length;) {
        ssize_t n = write(port, frame + sent, HEADER + length - sent);
        if (n < 0 && errno != EINTR && errno != EAGAIN) die("write to the port");
        if (n > 0) sent += n;
    }
}

static void send_status(uint32_t id, int32_t status)
{
    uint8_t payload[4];

    put_u32(payload, status);
    send_frame('X', id, payload, sizeof payload);
}

/* Whether there may be more later. */
static int pass_on(struct command *command, int which)
{
    static uint8_t buffer[65536];
    ssize_t n = read(command->pipes[which], buffer, sizeof buffer);

    if (n > 0) {
        send_frame("OE"[which], command->id, buffer, n);
        return 1;
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
    close(command->pipes[which]);
    command->pipes[which] = -1;
    return 0;
}

/* A shell for that takes the emulation longer than all the rest of it. */
static int write_out(const char *path, const uint8_t *bytes, size_t length)
{
    int file = open(path, O_WRONLY | O_NOCTTY);
    ssize_t n = 0;

    if (file < 0) fprintf(stderr, "%s: %s\n", path, strerror(errno));
    for (size_t done = 0; file >= 0 && done < length; done += n) {
        n = write(file, bytes + done, length - done);
        if (n < 0) fprintf(stderr, "write to %s: %s\n", path, strerror(errno));
        if (n < 0) return 1;
    }
    return file < 0;
}

/* In a process of its own, for what it writes to may not take it at once. */
static void run(uint32_t id, char kind, const char *text, size_t length)
{
    struct command *command = commands;
    int out[2], err[2];

    while (command < commands + MOST_COMMANDS && command->pid != 0) command++;
    if (command == commands + MOST_COMMANDS || pipe2(out, O_CLOEXEC) != 0) {
        send_status(id, 125);
        return;
    }
    if (pipe2(err, O_CLOEXEC) != 0) die("pipe");
    pid_t pid = fork();
    if (pid < 0) die("fork");
    if (pid == 0) {
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        setsid();
        int null = open("/dev/null", O_RDONLY);
        dup2(null, 0);
        dup2(out[1], 1);
        dup2(err[1], 2);
        if (kind == 'W') {
            size_t path = strlen(text) + 1;
            int status = path > length ? 127 : write_out(text, (const uint8_t *)text + path, length - path);
            fflush(stderr);
            _exit(status);
        }
        execl("/bin/bash", "bash", "-c", text, (char *)NULL);
        _exit(127);
    }
    close(out[1]);
    close(err[1]);
    fcntl(out[0], F_SETFL, O_NONBLOCK);
    fcntl(err[0], F_SETFL, O_NONBLOCK);
    *command = (struct command){ .id = id, .pid = pid, .pipes = { out[0], err[0] } };
}

static void reap(void)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        for (struct command *c = commands; c < commands + MOST_COMMANDS; c++) {
            if (c->pid != pid) continue;
            for (int which = 0; which < 2; which++) {
                while (c->pipes[which] >= 0 && pass_on(c, which)) {}
                if (c->pipes[which] >= 0) close(c->pipes[which]);
            }
            c->pid = 0;
            send_status(c->id, WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status));
        }
    }
}

static void receive(void)
{
    static uint8_t *buffer;
    static size_t filled;

    if (buffer == NULL && (buffer = malloc(HEADER + LONGEST_COMMAND + 1)) == NULL) die("malloc");
    ssize_t n = read(port, buffer + filled, HEADER + LONGEST_COMMAND - filled);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n < 0) die("read from the port");
    if (n == 0) { /* nobody outside: this does not wait by itself */
        usleep(100000);
        return;
    }
    filled += n;
    while (filled >= HEADER) {
        uint32_t length = get_u32(buffer), id = get_u32(buffer + 4);
        if (length > LONGEST_COMMAND) {
            errno = EMSGSIZE;
            die("a frame from the host");
        }
        if (filled < HEADER + length) break;
        uint8_t after = buffer[HEADER + length];
        buffer[HEADER + length] = 0;
        if (buffer[8] == 'R' || buffer[8] == 'W') run(id, buffer[8], (char *)buffer + HEADER, length);
        for (struct command *c = commands; buffer[8] == 'K' && c < commands + MOST_COMMANDS; c++) {
            if (c->pid != 0 && c->id == id) kill(-c->pid, buffer[HEADER]);
        }
        buffer[HEADER + length] = after;
        filled -= HEADER + length;
        memmove(buffer, buffer + HEADER + length, filled);
    }
}

int main(void)
{
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, NULL);
    int children = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);

    if (children < 0) die("signalfd");
    if ((port = open_port()) < 0) die("no virtio port " PORT_NAME);
    send_frame('H', 0, "", 0);
    for (;;) {
        struct pollfd waits[2 + 2 * MOST_COMMANDS] = { { .fd = port, .events = POLLIN },
                                                       { .fd = children, .events = POLLIN } };
        for (int i = 0; i < 2 * MOST_COMMANDS; i++) {
            struct command *c = &commands[i / 2];
            waits[2 + i] = (struct pollfd){ .fd = c->pid != 0 ? c->pipes[i % 2] : -1, .events = POLLIN };
        }
        if (poll(waits, 2 + 2 * MOST_COMMANDS, -1) < 0 && errno != EINTR) die("poll");
        for (int i = 0; i < 2 * MOST_COMMANDS; i++) {
            if (waits[2 + i].revents != 0) pass_on(&commands[i / 2], i % 2);
        }
        if (waits[1].revents != 0) {
            struct signalfd_siginfo info;
            while (read(children, &info, sizeof info) > 0) {}
            reap();
        }
        if (waits[0].revents != 0) receive();
    }
}
