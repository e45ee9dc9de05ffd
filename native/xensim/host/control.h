/* SPDX-License-Identifier: MIT */
/* A client's connection and one request on it. */
#ifndef XENSIM_CONTROL_H
#define XENSIM_CONTROL_H

#include "internal.h"

struct connection {
    struct connection *next;
    int fd;
    int kind;             /* enum wire_kind; -1 before WIRE_HELLO */
    int restrict_domid;   /* -1: not restricted */
    uint64_t client_inode; /* which evtchn_user this speaks for */
};

struct message {
    struct wire_request request;
    uint8_t payload[WIRE_PAYLOAD_MAX];
};

struct answer {
    struct wire_reply reply;
    uint8_t payload[WIRE_PAYLOAD_MAX];
};

/* Everything one request is worked on with. fds: received ones first, then those to send. */
struct exchange {
    struct connection *c;
    struct message in;
    size_t in_length; /* of the payload */
    int in_fd;
    struct answer out;
    size_t out_length;
    int out_fd[2];
    unsigned out_fds;
    bool close_out_fds;
};

/* Work on the request; returns an errno or 0. */
PRIVATE int control_serve(struct xensim *x, struct exchange *e);
PRIVATE int control_watch_user(struct xensim *x, const struct evtchn_user *user);

#endif
