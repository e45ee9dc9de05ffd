// SPDX-License-Identifier: MIT

/**
 * Bytes of a unix socket's path, its final zero not counted; of a longer one Node.js would silently take the beginning.
 * Source: Linux include/uapi/linux/un.h, UNIX_PATH_MAX.
 */
export const LONGEST_SOCKET_PATH = 107;
