/* SPDX-License-Identifier: MIT */
/*
 * The part of libuv's ABI that the addon uses. Distributions ship Node.js without uv.h, and these
 * have not changed within libuv 1. Source: libuv 1.x include/uv.h.
 */
#ifndef IOREQD_UV_ABI_H
#define IOREQD_UV_ABI_H

#include <stddef.h>

typedef struct uv_loop_s uv_loop_t;
typedef struct uv_handle_s uv_handle_t;
/* Opaque: allocated with uv_handle_size(). A uv_poll_t is a uv_handle_t. */
typedef uv_handle_t uv_poll_t;

enum { UV_POLL = 8 };                      /* enum uv_handle_type */
enum { UV_READABLE = 1, UV_WRITABLE = 2 }; /* enum uv_poll_event */

typedef void (*uv_close_cb)(uv_handle_t *handle);
typedef void (*uv_poll_cb)(uv_poll_t *handle, int status, int events);

size_t uv_handle_size(int type);
void uv_handle_set_data(uv_handle_t *handle, void *data);
void *uv_handle_get_data(const uv_handle_t *handle);
int uv_poll_init(uv_loop_t *loop, uv_poll_t *handle, int fd);
int uv_poll_start(uv_poll_t *handle, int events, uv_poll_cb cb);
int uv_poll_stop(uv_poll_t *handle);
void uv_close(uv_handle_t *handle, uv_close_cb cb);
void uv_ref(uv_handle_t *handle);
void uv_unref(uv_handle_t *handle);
uv_loop_t *uv_handle_get_loop(const uv_handle_t *handle);
int uv_backend_fd(const uv_loop_t *loop);
int uv_backend_timeout(const uv_loop_t *loop);

#endif
