// SPDX-License-Identifier: MIT
/** An initramfs: a cpio archive in the "newc" format. Source: Linux Documentation/driver-api/early-userspace/buffer-format.rst. */

import { lstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import path from "node:path";
import { gzipSync } from "node:zlib";

const DIRECTORY = 0o040755;
const FILE = 0o100644;
const PROGRAM = 0o100755;
const LINK = 0o120777;

/** The tree below a directory, all owned by root, without times: the same tree gives the same bytes. */
export function packInitramfs(directory: string): Buffer {
  const parts: Buffer[] = [];
  let inode = 1;
  const add = (name: string, mode: number, data: Buffer) => parts.push(entry(name, mode, data, inode++));
  const walk = (below: string) => {
    for (const name of readdirSync(path.join(directory, below)).sort()) {
      const relative = path.join(below, name);
      const file = path.join(directory, relative);
      const stat = lstatSync(file);
      if (stat.isSymbolicLink()) add(relative, LINK, Buffer.from(readlinkSync(file)));
      else if (stat.isDirectory()) {
        add(relative, DIRECTORY, Buffer.alloc(0));
        walk(relative);
      } else add(relative, (stat.mode & 0o100) !== 0 ? PROGRAM : FILE, readFileSync(file));
    }
  };
  walk("");
  parts.push(entry("TRAILER!!!", 0, Buffer.alloc(0), 0));
  return gzipSync(Buffer.concat(parts), { level: 1 });
}

function entry(name: string, mode: number, data: Buffer, inode: number): Buffer {
  // inode, mode, uid, gid, links, mtime, size, device (2), node's device (2), length of the name with its NUL, checksum
  const fields = [inode, mode, 0, 0, 1, 0, data.length, 0, 0, 0, 0, Buffer.byteLength(name) + 1, 0];
  const header = `070701${fields.map((field) => field.toString(16).padStart(8, "0")).join("")}${name}\0`;
  return Buffer.concat([padded(Buffer.from(header)), padded(data)]);
}

/** Header with name, and data, each end at a multiple of four. */
function padded(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc(-bytes.length & 3)]);
}
