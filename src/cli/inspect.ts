// SPDX-License-Identifier: MIT
/** `ioreqd inspect DOMID`: a look at a running guest's devices from another process, by nothing but its state file. */

import { IoreqdError } from "../base/errors.js";
import { hex } from "../base/hex.js";
import { Arena, HOST_RECORD, PHASE, SERVER_STATE } from "../state/arena.js";
import type { GroupDescription, PlaceDescription } from "../state/layout.js";
import { readLayout } from "../state/read-layout.js";
import { openAdapter } from "../xen/ffi/index.js";
import { mapFile } from "../xen/map-file.js";
import { columns } from "./columns.js";
import { statePath } from "./state-file.js";

export interface Inspection {
  domid: number;
  pid: number;
  server: number;
  serverState: string;
  /** How often a process took over from one before it. */
  takeovers: number;
  /** vCPUs with a request under way. */
  requests: Array<{ record: number | "host"; phase: string; deaths: number }>;
  devices: Array<{
    path: string;
    device: string;
    id: string | null;
    /** See docs/reliability.md. */
    quarantined: boolean;
    groups: Record<string, Record<string, string>>;
  }>;
}

const nameOf = (names: Readonly<Record<string, number>>, value: number): string =>
  Object.keys(names).find((name) => names[name] === value) ?? String(value);

/** Throws STATE_MISSING or ARENA_INVALID. */
export function inspectDomain(stateDir: string, domid: number): Inspection {
  const path = statePath(stateDir, domid);
  let file: ReturnType<typeof mapFile>;
  try {
    file = mapFile(openAdapter(), path, { readonly: true });
  } catch (error) {
    throw new IoreqdError(
      "STATE_MISSING",
      `domain ${domid} is not served here: ${path} cannot be read; --state-dir names another place`,
      { path },
      { cause: error },
    );
  }
  try {
    return inspectArena(Arena.open(file.buffer));
  } finally {
    file.unmap();
  }
}

/** Read again where devices came or went meanwhile: then places may have been somebody else's. */
export function inspectArena(arena: Arena): Inspection {
  for (let tries = MOST_TRIES; ; tries -= 1) {
    const changes = arena.header("layoutChanges");
    const inspection = readArena(arena);
    if (arena.header("layoutChanges") === changes || tries === 0) return inspection;
  }
}

const MOST_TRIES = 10;

function readArena(arena: Arena): Inspection {
  const layout = readLayout(arena.layout(), arena.dataLength);
  const requests = Array.from({ length: HOST_RECORD + 1 }, (_, record) => ({ record, ...arena.record(record) }))
    .filter(({ phase }) => phase !== PHASE.idle)
    .map(({ record, phase, deaths }) => ({
      record: record === HOST_RECORD ? ("host" as const) : record,
      phase: nameOf(PHASE, phase),
      deaths,
    }));
  return {
    domid: arena.header("domid"),
    pid: arena.header("pid"),
    server: arena.header("ioservid"),
    serverState: nameOf(SERVER_STATE, arena.header("serverState")),
    takeovers: arena.header("takeovers"),
    requests,
    devices: layout.devices.map(({ path, device, id = null, groups }) => ({
      path,
      device,
      id,
      quarantined: isQuarantined(arena, groups),
      groups: Object.fromEntries(
        groups.map((group) => [
          group.name,
          Object.fromEntries(group.places.map((place) => [place.name, shownValue(arena, place)])),
        ]),
      ),
    })),
  };
}

function isQuarantined(arena: Arena, groups: readonly GroupDescription[]): boolean {
  const place = groups.find(({ name }) => name === "function")?.places.find(({ name }) => name === "quarantined");
  return place !== undefined && arena.load(arena.dataAt + place.at, place.width) !== 0;
}

const SHOWN_BYTES = 32;

function shownValue(arena: Arena, place: PlaceDescription): string {
  const at = arena.dataAt + place.at;
  if (place.kind === "bytes") {
    const bytes = Buffer.from(arena.u8.slice(at, at + Math.min(place.width, SHOWN_BYTES)));
    return `${bytes.toString("hex")}${place.width > SHOWN_BYTES ? `… (${place.width} bytes)` : ""}`;
  }
  if (place.name.endsWith(".deadline")) return `${arena.view.getFloat64(at, true).toFixed(1)} ms`;
  if (place.width === 8) return hex(arena.view.getBigUint64(at, true));
  return hex(arena.load(at, place.width));
}

export function formatInspection(inspection: Inspection): string {
  const head = `domain ${inspection.domid}: process ${inspection.pid}, ioreq server ${inspection.server} (${inspection.serverState})${inspection.takeovers === 0 ? "" : `, taken over ${inspection.takeovers} times`}`;
  const requests = inspection.requests.map(({ record, phase, deaths }) =>
    record === "host" ? `work outside requests: ${phase}` : `vCPU ${record}: ${phase}, ${deaths} processes died in it`,
  );
  const devices = inspection.devices.map(({ path, device, id, quarantined, groups }) => {
    const lines = Object.entries(groups).flatMap(([group, places]) =>
      Object.entries(places).map(([name, value]) => [`  ${group}`, name, value]),
    );
    return `${path} ${device}${id === null ? "" : ` (${id})`}${quarantined ? ", in quarantine" : ""}\n${columns(lines)}`;
  });
  return [[head, ...requests].join("\n"), ...devices].join("\n\n");
}
