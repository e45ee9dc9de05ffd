/* SPDX-License-Identifier: MIT */
/*
 * host.node: xensim.h for JavaScript, one function for each of its functions.
 *
 * A host is named by a number that is good in every thread of the process, so
 * a worker can play a vCPU of a host that the main thread started.
 *
 * Values of up to 64 bits go in as two numbers (low, high) and come back in
 * `out`, an array that each environment has: no BigInt is made on the way.
 */
#ifndef XENSIM_BINDING_H
#define XENSIM_BINDING_H

#include <node_api.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "xensim.h"

/* Words of `out`. */
enum { OUT_LO, OUT_HI, OUT_NS, OUT_AUX, OUT_WORDS };

struct environment;

struct host {
    struct xensim *x;
    uint32_t id;
    unsigned vcpus;
    uint64_t memory;
    atomic_uint refs;          /* the registry's, and one for each user that may outlive close() */
    struct environment *owner; /* which stops it when it ends itself */
};

/* One per JavaScript environment: the main thread, and each worker. */
struct environment {
    struct host *host; /* the one used last, with a reference */
    uint32_t out[OUT_WORDS];
};

/* registry.c */
int host_register(struct xensim *x, const struct xensim_config *config, struct environment *owner,
                  uint32_t *id);
struct host *host_acquire(uint32_t id);
void host_release(struct host *host);
/* Take it out of the registry and stop it. The memory goes with the last reference. */
bool host_close(uint32_t id);
void hosts_close_owned(struct environment *owner);

/* args.c. Each returns false with a JavaScript exception pending. */
#define MAX_ARGS 10
struct call {
    napi_env env;
    struct environment *e;
    struct host *host;
    size_t argc;
    napi_value argv[MAX_ARGS];
};
/* The arguments; the first is the id of a host. */
bool call_begin(napi_env env, napi_callback_info info, size_t argc, struct call *call);
/* Also the second, a vCPU of that host. */
bool call_begin_vcpu(napi_env env, napi_callback_info info, size_t argc, struct call *call,
                     unsigned *vcpu);
bool arg_u32(struct call *call, size_t i, const char *name, uint32_t *out);
bool arg_int(struct call *call, size_t i, const char *name, int32_t *out);
bool arg_bool(struct call *call, size_t i, const char *name, bool *out);
/* A whole number from 0 to 2^53, or a BigInt from 0 to 2^64-1. */
bool arg_u64(struct call *call, size_t i, const char *name, uint64_t *out);
/* 1, 2, 4 or 8. */
bool arg_width(struct call *call, size_t i, unsigned *out);
/* Two numbers, of which the low 32 bits count. */
bool arg_pair(struct call *call, size_t i, const char *name, uint64_t *out);
/* The bytes of a Uint8Array of exactly `length`. */
bool arg_bytes(struct call *call, size_t i, const char *name, size_t length, uint8_t **out);
/* A new string, for free(). */
bool arg_string(struct call *call, size_t i, const char *name, char **out);
void throw_errno(napi_env env, const char *code, const char *what, int error);

napi_value js_number(napi_env env, double value);
napi_value js_bool(napi_env env, bool value);
napi_value js_u64(napi_env env, uint64_t value);
void js_set(napi_env env, napi_value object, const char *name, napi_value value);

/* What each file adds to the module. */
struct method {
    const char *name;
    napi_callback call;
};
extern const struct method control_methods[], claim_methods[], vcpu_methods[], interrupt_methods[],
    program_methods[];

#endif
