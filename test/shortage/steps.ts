// SPDX-License-Identifier: MIT
/**
 * Loaded into a process before its own code (`node --require`): counts every call to Xen's libraries and every request
 * to xenstored, each of which is a step, and brings one of them to grief. Which, is in IOREQD_STEP; the program itself knows
 * nothing of this.
 *
 *     count              tell each step, change nothing
 *     before N, after N  the domain is destroyed just then
 *     ENOMEM at N        step N does nothing and fails with this errno; `ENOMEM on N`: and so does all of that name from then on
 *
 * Steps count from 0. Whoever destroys the domain hears of it by a line on standard error, and says that it is done by a
 * file, which this thread waits for: nothing happens in the process in between.
 */

import { existsSync, writeSync } from "node:fs";
import { constants } from "node:os";
import { sleepThread } from "../../src/base/sleep.js";
import * as koffi from "../../src/xen/ffi/koffi.js";
import type { Bound, FfiAdapter, LibraryTable } from "../../src/xen/ffi/table.js";
import { MAP_FAILED } from "../../src/xen/tables/libc.js";
import { Connection } from "../../src/xenstore/connection.js";
import { refused } from "../../src/xenstore/errors.js";
import { XS } from "../../src/xenstore/wire.js";
import { DONE_FILE, OF_COMMAND, REACHED, STEP } from "./walk.js";

type Call = (...args: unknown[]) => unknown;

const isOurs = process.argv[2] === process.env[OF_COMMAND];
const [what = "", second = "", third = ""] = ((isOurs && process.env[STEP]) || "none").split(" ");
const destroys = what === "before" || what === "after";
const wanted = Number(destroys ? second : third);
const errno = constants.errno[what as keyof typeof constants.errno];
const doneFile = process.env[DONE_FILE] ?? "";

let steps = 0;
/** The name of what fails. */
let failing: string | null = null;
/** What the adapter's errno() says next. */
let injected: number | null = null;

const tell = (step: number, name: string): void => void writeSync(2, `${REACHED}${step} ${name}\n`);

/** Returns its number. */
function count(name: string): number {
  const step = steps++;
  if (what === "count") tell(step, name);
  return step;
}

function fails(step: number, name: string): boolean {
  if (errno === undefined) return false;
  if (step !== wanted) return second === "on" && name === failing;
  failing = name;
  tell(step, name);
  return true;
}

function destroy(moment: "before" | "after", step: number, name: string): void {
  if (moment !== what || step !== wanted) return;
  tell(step, name);
  while (!existsSync(doneFile)) sleepThread(1);
}

/** Closing can't fail, and a descriptor's number is no question to anybody. */
const isStep = (soname: string, name: string): boolean =>
  soname.startsWith("libxen") ? !/_(close|fd)$/.test(name) : ["mmap", "posix_fallocate"].includes(name);

/** What a function of C returns when it fails. */
function failure(name: string, returns: string): unknown {
  if (name === "mmap") return MAP_FAILED;
  if (name === "posix_fallocate") return errno;
  return returns === "pointer" ? null : -1;
}

const open = koffi.koffiAdapter;
Object.assign(koffi, {
  koffiAdapter(): FfiAdapter {
    const adapter = open();
    const stepping =
      (name: string, returns: string, call: Call): Call =>
      (...args) => {
        injected = null;
        const step = count(name);
        if (fails(step, name)) {
          injected = errno;
          return failure(name, returns);
        }
        destroy("before", step, name);
        const result = call(...args);
        // What waits for the end of the domain calls C, too.
        if (destroys && step === wanted) injected = adapter.errno();
        destroy("after", step, name);
        return result;
      };
    return {
      ...adapter,
      errno: () => injected ?? adapter.errno(),
      bind<const T extends LibraryTable>(table: T): Bound<T> {
        const functions = Object.entries(adapter.bind(table) as Record<string, Call | undefined>).map(
          ([name, call]) => {
            if (call === undefined || !isStep(table.soname, name)) return [name, call];
            return [name, stepping(name, table.functions[name]?.returns ?? "void", call)];
          },
        );
        return Object.fromEntries(functions) as Bound<T>;
      },
    };
  },
});

const NAMES = new Map<number, string>(Object.entries(XS).map(([name, type]) => [type, `xenstore ${name}`]));
const { request } = Connection.prototype;
Connection.prototype.request = async function (this: Connection, type, ...rest) {
  const name = NAMES.get(type) ?? `xenstore ${type}`;
  const step = count(name);
  if (fails(step, name)) throw refused(name, what);
  destroy("before", step, name);
  const answer = await request.call(this, type, ...rest);
  destroy("after", step, name);
  return answer;
};
