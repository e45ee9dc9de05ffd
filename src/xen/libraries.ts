// SPDX-License-Identifier: MIT
/** Where the Xen libraries are found, and where our own native parts are. */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { PACKAGE_ROOT, XENSIM_LIBRARIES } from "../base/place.js";

export const ADDON_PATH = join(PACKAGE_ROOT, "native", "build", "addon.node");

/** Socket of the simulated host this process is to run on, or undefined on a real one. */
export function xensimSocket(): string | undefined {
  const socket = process.env["XENSIM_SOCKET"];
  return socket === undefined || socket === "" ? undefined : socket;
}

/**
 * What to give to dlopen for a library: the soname, which leaves the search to the loader, or the path of
 * xensim's library when XENSIM_SOCKET is set and LD_LIBRARY_PATH does not already choose one.
 *
 * The loader reads LD_LIBRARY_PATH when the process starts; a host that is simulated within this process
 * comes later, hence the path.
 */
export function locate(soname: string): string {
  if (xensimSocket() === undefined || !existsSync(join(XENSIM_LIBRARIES, soname))) return soname;
  const searched = (process.env["LD_LIBRARY_PATH"] ?? "").split(":").filter((directory) => directory !== "");
  return searched.some((directory) => existsSync(join(directory, soname))) ? soname : join(XENSIM_LIBRARIES, soname);
}

/** Whether the libraries that would be loaded are the simulated ones, as far as can be told. */
export const simulatedLibraries = (): boolean =>
  locate("libxenevtchn.so.1") !== "libxenevtchn.so.1" || searchedXensim();

function searchedXensim(): boolean {
  return (process.env["LD_LIBRARY_PATH"] ?? "").split(":").includes(XENSIM_LIBRARIES);
}
