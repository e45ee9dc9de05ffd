/* SPDX-License-Identifier: MIT */
/* A connection to the host. */
#include "client.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int client_open(struct client *c, enum wire_kind kind)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = getenv(WIRE_SOCKET_ENV);
    c->fd = -1;
    if (!path || !*path || strlen(path) >= sizeof address.sun_path) {
        errno = ENOENT;
        return -1;
    }
    strcpy(address.sun_path, path);
    c->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        return -1;
    pthread_mutex_init(&c->lock, NULL);
    int rc;
    do
        rc = connect(c->fd, (struct sockaddr *)&address, sizeof address);
    while (rc && errno == EINTR);
    struct client_call hello = {.request = {.op = WIRE_HELLO, .a = kind}};
    if (rc && errno == ECONNREFUSED)
        errno = ENOENT; /* the file of a host that is gone */
    if (!rc && client_call(c, &hello)) {
        errno = ENOENT;
        rc = -1;
    }
    if (rc)
        client_close(c);
    return rc;
}

void client_close(struct client *c)
{
    if (c->fd < 0)
        return;
    int error = errno;
    close(c->fd);
    c->fd = -1;
    pthread_mutex_destroy(&c->lock);
    errno = error;
}

static bool send_request(int fd, struct client_call *call)
{
    char control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec iov[3] = {
        {&call->request, sizeof call->request},
        {(void *)call->in[0], call->in_length[0]},
        {(void *)call->in[1], call->in_length[1]},
    };
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 3};
    if (call->in_fd > 0) {
        int passed = call->in_fd - 1;
        msg.msg_control = control;
        msg.msg_controllen = sizeof control;
        struct cmsghdr *h = CMSG_FIRSTHDR(&msg);
        h->cmsg_level = SOL_SOCKET;
        h->cmsg_type = SCM_RIGHTS;
        h->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(h), &passed, sizeof passed);
    }
    ssize_t n;
    do
        n = sendmsg(fd, &msg, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n >= 0;
}

static bool receive_reply(int fd, struct client_call *call, struct wire_reply *reply)
{
    char control[CMSG_SPACE(2 * sizeof(int))];
    struct iovec iov[3] = {
        {reply, sizeof *reply},
        {call->out[0], call->out_length[0]},
        {call->out[1], call->out_length[1]},
    };
    struct msghdr msg = {
        .msg_iov = iov, .msg_iovlen = 3, .msg_control = control, .msg_controllen = sizeof control,
    };
    ssize_t n;
    do
        n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    for (struct cmsghdr *h = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL; h; h = CMSG_NXTHDR(&msg, h))
        if (h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS)
            memcpy(call->out_fd, CMSG_DATA(h), h->cmsg_len - CMSG_LEN(0));
    if (n > 0 && (msg.msg_flags & MSG_CTRUNC)) {
        /* What came could not be given a number. */
        for (int i = 0; i < 2; i++) {
            if (call->out_fd[i] >= 0)
                close(call->out_fd[i]);
            call->out_fd[i] = -1;
        }
        reply->error = EMFILE;
    }
    return n >= (ssize_t)sizeof *reply &&
           (reply->error ||
            (size_t)n == sizeof *reply + call->out_length[0] + call->out_length[1]);
}

int client_call(struct client *c, struct client_call *call)
{
    struct wire_reply reply = {0};
    call->out_fd[0] = call->out_fd[1] = -1;
    pthread_mutex_lock(&c->lock);
    bool ok = send_request(c->fd, call) && receive_reply(c->fd, call, &reply);
    pthread_mutex_unlock(&c->lock);
    if (!ok || reply.error) {
        errno = ok ? reply.error : ESRCH;
        return -1;
    }
    call->a = reply.a;
    return 0;
}
