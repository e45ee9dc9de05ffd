/* SPDX-License-Identifier: MIT */
/* What the client libraries share: a connection to the host, and libxentoolcore's inner interface. */
#ifndef XENSIM_CLIENT_H
#define XENSIM_CLIENT_H

#include "../wire.h"

#include <pthread.h>
#include <stddef.h>

#define EXPORT __attribute__((visibility("default")))

struct client {
    int fd;
    pthread_mutex_t lock; /* one request at a time */
};

struct client_call {
    struct wire_request request;
    const void *in[2]; /* payload */
    size_t in_length[2];
    int in_fd;         /* one more than the descriptor to send; 0: none */
    void *out[2];
    size_t out_length[2]; /* of the buffers; a reply that does not fill them is an error */
    int out_fd[2];     /* received descriptors, -1 where there is none */
    uint64_t a;        /* of the reply */
};

/* 0, or -1 with errno. No socket to be found is ENOENT, as a missing /dev/xen node. */
int client_open(struct client *c, enum wire_kind kind);
void client_close(struct client *c);
/* 0, or -1 with errno: the host's, or ESRCH when the host, and so the domain, is gone. */
int client_call(struct client *c, struct client_call *call);

/* Source: Xen tools/include/xentoolcore_internal.h. Other libraries may share the list with us,
 * so the layout is the real one. */
typedef struct Xentoolcore__Active_Handle Xentoolcore__Active_Handle;
struct Xentoolcore__Active_Handle {
    int (*restrict_callback)(Xentoolcore__Active_Handle *, domid_t domid);
    struct {
        Xentoolcore__Active_Handle *next;
        Xentoolcore__Active_Handle **previous;
    } entry;
};
void xentoolcore__register_active_handle(Xentoolcore__Active_Handle *);
void xentoolcore__deregister_active_handle(Xentoolcore__Active_Handle *);
int xentoolcore__restrict_by_dup2_null(int fd);

#endif
