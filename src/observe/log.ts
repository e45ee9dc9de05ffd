// SPDX-License-Identifier: MIT
/**
 * The log. Levels are what `-v` asks for: none: start, stop and what is odd;
 * `-v` state changes (debug); `-vv` every access in one line (trace);
 * `-vvv` the raw request as well.
 */

import pino, { type Logger } from "pino";
import { LogOutput } from "./log-output.js";

export type { Logger };

export const FORMATS = ["auto", "json", "pretty"] as const;
export type LogFormat = (typeof FORMATS)[number];

export interface LogOptions {
  /** 0 to 3: how often -v was given. */
  readonly verbosity: number;
  /** "auto": pretty on a terminal, JSON lines elsewhere. */
  readonly format: LogFormat;
}

const STDERR = 2;
const LEVELS = ["info", "debug", "trace", "trace"] as const;

/** A log on standard error. Written synchronously: what led to a crash is in it. See LogOutput for what it can't take. */
export function openLog(options: LogOptions): Logger {
  const level = LEVELS[Math.min(options.verbosity, LEVELS.length - 1)] as string;
  const isPretty = options.format === "pretty" || (options.format === "auto" && process.stderr.isTTY);
  const base = { level, base: null };
  if (!isPretty) return pino(base, new LogOutput(STDERR));
  // Loaded only here: a daemon under systemd has no use for it.
  const pretty = require("pino-pretty") as typeof import("pino-pretty");
  return pino(
    base,
    pretty({ destination: 2, sync: true, singleLine: true, translateTime: "HH:MM:ss.l", ignore: "pid,hostname" }),
  );
}
