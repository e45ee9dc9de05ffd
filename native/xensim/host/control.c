/* SPDX-License-Identifier: MIT */
/* The control socket: one thread that serves the client libraries' connections. See ../wire.h. */
#include "control.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* In an epoll datum: a connection's address, or an evtchn user's inode with the low bit set. */
#define USER_TAG 1u

static int watch(struct xensim *x, int fd, uint64_t datum)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = datum};
    return epoll_ctl(x->epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

int control_watch_user(struct xensim *x, const struct evtchn_user *user)
{
    return watch(x, user->fd, user->client_inode << 1 | USER_TAG);
}

/* ---- datagrams ---- */

static bool receive(struct exchange *e)
{
    char control[CMSG_SPACE(4 * sizeof(int))];
    struct iovec iov = {&e->in, sizeof e->in};
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control,
    };
    ssize_t n = recvmsg(e->c->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0)
        return false;
    for (struct cmsghdr *h = CMSG_FIRSTHDR(&msg); h; h = CMSG_NXTHDR(&msg, h)) {
        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
            continue;
        int fds[4];
        size_t count = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(fds, CMSG_DATA(h), count * sizeof(int));
        for (size_t i = 0; i < count; i++) {
            if (e->in_fd < 0)
                e->in_fd = fds[i];
            else
                close(fds[i]);
        }
    }
    if ((size_t)n < sizeof e->in.request || msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
        return false;
    e->in_length = (size_t)n - sizeof e->in.request;
    return true;
}

static bool reply(struct exchange *e)
{
    char control[CMSG_SPACE(2 * sizeof(int))] = {0};
    struct iovec iov = {&e->out, sizeof e->out.reply + e->out_length};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    if (e->out_fds) {
        msg.msg_control = control;
        msg.msg_controllen = CMSG_SPACE(e->out_fds * sizeof(int));
        struct cmsghdr *h = CMSG_FIRSTHDR(&msg);
        h->cmsg_level = SOL_SOCKET;
        h->cmsg_type = SCM_RIGHTS;
        h->cmsg_len = CMSG_LEN(e->out_fds * sizeof(int));
        memcpy(CMSG_DATA(h), e->out_fd, e->out_fds * sizeof(int));
    }
    return sendmsg(e->c->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

static void connection_close(struct xensim *x, struct connection *c)
{
    struct connection **link = &x->connections;
    while (*link != c)
        link = &(*link)->next;
    *link = c->next;
    if (c->kind == WIRE_DEVICEMODEL || c->kind == WIRE_FOREIGNMEMORY)
        atomic_fetch_sub(&x->count.clients, 1);
    /* Said, not left to close(): a child that the embedder forked may still hold a copy. */
    epoll_ctl(x->epoll_fd, EPOLL_CTL_DEL, c->fd, NULL);
    close(c->fd);
    free(c);
}

static void connection_ready(struct xensim *x, struct connection *c, struct exchange *e)
{
    e->c = c;
    e->in_fd = -1;
    e->out_fds = 0;
    e->out_length = 0;
    e->out.reply = (struct wire_reply){0};
    bool alive = receive(e);
    if (alive) {
        e->out.reply.error = control_serve(x, e);
        alive = reply(e);
        for (unsigned i = 0; e->close_out_fds && i < e->out_fds; i++)
            close(e->out_fd[i]);
    }
    if (e->in_fd >= 0)
        close(e->in_fd);
    if (!alive)
        connection_close(x, c);
}

static void remember_pid(struct xensim *x, int fd)
{
    struct ucred cred;
    socklen_t length = sizeof cred;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &length))
        return;
    pthread_mutex_lock(&x->pid_lock);
    unsigned i = 0;
    while (i < x->nr_pids && x->pid[i] != cred.pid)
        i++;
    if (i == NR_PIDS) { /* forget the oldest: long dead, or one of very many */
        memmove(x->pid, x->pid + 1, (NR_PIDS - 1) * sizeof x->pid[0]);
        i = --x->nr_pids;
    }
    if (i == x->nr_pids)
        x->pid[x->nr_pids++] = cred.pid;
    pthread_mutex_unlock(&x->pid_lock);
}

static void accept_client(struct xensim *x)
{
    int fd = accept4(x->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM)
            usleep(10000); /* the client waits in the backlog until something is closed */
        return;
    }
    struct connection *c = calloc(1, sizeof *c);
    if (!c || watch(x, fd, (uintptr_t)c)) {
        close(fd);
        free(c);
        return;
    }
    remember_pid(x, fd);
    c->fd = fd;
    c->kind = -1;
    c->restrict_domid = -1;
    c->next = x->connections;
    x->connections = c;
}

static void user_ready(struct xensim *x, uint64_t client_inode)
{
    struct evtchn_user *user = evtchn_user_find(x, client_inode);
    if (!user)
        return; /* released by another event of this round */
    uint8_t bytes[256];
    ssize_t n = recv(user->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (n > 0)
        evtchn_user_written(x, user, bytes, (size_t)n);
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        evtchn_user_release(x, user);
}

static void *io_main(void *arg)
{
    struct xensim *x = arg;
    struct exchange *e = calloc(1, sizeof *e);
    struct epoll_event events[32];
    for (bool running = e != NULL; running;) {
        int n = epoll_wait(x->epoll_fd, events, 32, -1);
        for (int i = 0; i < n; i++) {
            uint64_t datum = events[i].data.u64;
            if (datum == (uintptr_t)&x->stop_fd)
                running = false;
            else if (datum == (uintptr_t)&x->listen_fd)
                accept_client(x);
            else if (datum & USER_TAG)
                user_ready(x, datum >> 1);
            else
                connection_ready(x, (struct connection *)(uintptr_t)datum, e);
        }
    }
    free(e);
    return NULL;
}

/* ---- start and stop ---- */

/* A socket file that nobody listens on is what a killed host left. */
static int bind_socket(int fd, const struct sockaddr_un *address)
{
    const struct sockaddr *sa = (const struct sockaddr *)address;
    if (!bind(fd, sa, sizeof *address))
        return 0;
    if (errno != EADDRINUSE)
        return errno;
    int probe = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    bool dead = probe >= 0 && connect(probe, sa, sizeof *address) && errno == ECONNREFUSED;
    if (probe >= 0)
        close(probe);
    if (!dead)
        return EADDRINUSE;
    unlink(address->sun_path);
    return bind(fd, sa, sizeof *address) ? errno : 0;
}

int control_start(struct xensim *x, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        return ENAMETOOLONG;
    strcpy(address.sun_path, path);

    x->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    x->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    x->stop_fd = eventfd(0, EFD_CLOEXEC);
    if (x->listen_fd < 0 || x->epoll_fd < 0 || x->stop_fd < 0)
        return errno;
    int error = bind_socket(x->listen_fd, &address);
    if (error)
        return error;
    strcpy(x->socket_path, path); /* ours to remove from here on */
    if (listen(x->listen_fd, 64) || watch(x, x->listen_fd, (uintptr_t)&x->listen_fd) ||
        watch(x, x->stop_fd, (uintptr_t)&x->stop_fd))
        return errno;
    error = pthread_create(&x->io_thread, NULL, io_main, x);
    x->io_running = !error;
    return error;
}

void control_stop(struct xensim *x)
{
    if (x->io_running) {
        uint64_t one = 1;
        (void)!write(x->stop_fd, &one, sizeof one);
        pthread_join(x->io_thread, NULL);
        x->io_running = false;
    }
    while (x->connections)
        connection_close(x, x->connections);
    while (x->users)
        evtchn_user_release(x, x->users);
    if (x->socket_path[0])
        unlink(x->socket_path);
    x->socket_path[0] = '\0';
    int *fds[] = {&x->listen_fd, &x->epoll_fd, &x->stop_fd};
    for (unsigned i = 0; i < 3; i++) {
        if (*fds[i] >= 0)
            close(*fds[i]);
        *fds[i] = -1;
    }
}
