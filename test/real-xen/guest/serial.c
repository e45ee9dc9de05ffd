/* SPDX-License-Identifier: MIT */
/*
 * A known stream of bytes through a serial port.
 *
 *     serial send DEVICE BYTES       writes the stream, and waits until it is out
 *     serial receive DEVICE BYTES    reads and compares
 *     serial echo DEVICE BYTES       gives back what comes
 *
 * The stream: the low byte of each state of xorshift32 that begins with 1. Source: Marsaglia,
 * "Xorshift RNGs", 2003, with 13, 17, 5. One line of JSON; the status is 1 when a byte was wrong or
 * nothing came for 60 seconds.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define QUIET_MS 60000
#define CHUNK 1024

static uint8_t next_byte(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return (uint8_t)*state;
}

static int open_port(const char *path)
{
    struct termios raw;
    int fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 || tcgetattr(fd, &raw))
        return -1;
    cfmakeraw(&raw);
    cfsetspeed(&raw, B115200);
    raw.c_cflag |= CLOCAL | CREAD;
    raw.c_cflag &= ~(tcflag_t)CRTSCTS;
    return tcsetattr(fd, TCSANOW, &raw) ? -1 : fd;
}

static ssize_t read_some(int fd, uint8_t *bytes, size_t most)
{
    struct pollfd poll_for = {.fd = fd, .events = POLLIN};
    return poll(&poll_for, 1, QUIET_MS) == 1 ? read(fd, bytes, most) : 0;
}

static int write_all(int fd, const uint8_t *bytes, size_t length)
{
    while (length) {
        ssize_t n = write(fd, bytes, length);
        if (n < 0 && errno != EINTR)
            return -1;
        if (n > 0)
            bytes += n, length -= (size_t)n;
    }
    return 0;
}

int main(int argc, char **argv)
{
    int fd = argc == 4 ? open_port(argv[2]) : -1;
    const char *what = argc == 4 ? argv[1] : "";
    if (fd < 0 || (strcmp(what, "send") && strcmp(what, "receive") && strcmp(what, "echo"))) {
        fprintf(stderr, "serial: send|receive|echo DEVICE BYTES: %s\n", strerror(errno));
        return 2;
    }
    uint64_t wanted = strtoull(argv[3], NULL, 0), done = 0, wrong = 0;
    uint32_t state = 1;
    uint8_t chunk[CHUNK];
    struct timespec began, ended;
    clock_gettime(CLOCK_MONOTONIC, &began);
    while (done < wanted) {
        size_t most = wanted - done < CHUNK ? (size_t)(wanted - done) : CHUNK;
        if (*what == 's') {
            for (size_t i = 0; i < most; i++)
                chunk[i] = next_byte(&state);
            if (write_all(fd, chunk, most))
                break;
            done += most;
            continue;
        }
        ssize_t n = read_some(fd, chunk, most);
        if (n <= 0)
            break;
        if (*what == 'e' && write_all(fd, chunk, (size_t)n))
            break;
        for (ssize_t i = 0; *what == 'r' && i < n; i++)
            wrong += chunk[i] != next_byte(&state);
        done += (uint64_t)n;
    }
    tcdrain(fd);
    clock_gettime(CLOCK_MONOTONIC, &ended);
    double seconds = (double)(ended.tv_sec - began.tv_sec) + (double)(ended.tv_nsec - began.tv_nsec) / 1e9;
    printf("{\"what\":\"%s\",\"bytes\":%llu,\"wrong\":%llu,\"seconds\":%.3f}\n", what, (unsigned long long)done,
           (unsigned long long)wrong, seconds);
    return done == wanted && !wrong ? 0 : 1;
}
