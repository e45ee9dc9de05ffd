// SPDX-License-Identifier: MIT
import { closeSync, constants, openSync, readSync, writeSync } from "node:fs";
import { counting, Line, until } from "./fixture.js";

function build() {
  const line = new Line("pty");
  const path = String(line.fields["serial line opened"]?.["pty"]);
  const fd = openSync(path, constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK);
  /** What can be read now. */
  const read = (): string => {
    const buffer = Buffer.alloc(65_536);
    try {
      return buffer.toString("latin1", 0, readSync(fd, buffer));
    } catch {
      return ""; // EAGAIN: nothing there yet
    }
  };
  const readUntil = async (length: number): Promise<string> => {
    let text = "";
    await until(() => {
      text += read();
      return text.length >= length;
    });
    return text;
  };
  const end = (): void => {
    closeSync(fd);
    line.chardev.close();
  };
  return { line, path, fd, read, readUntil, end };
}

test("bytes go both ways, all 256 of them, without echo", async () => {
  const { line, fd, read, readUntil, end } = build();
  const all = Array.from({ length: 256 }, (_, i) => String.fromCharCode(i)).join("");
  line.send(all);
  expect(await readUntil(256)).toBe(all);
  writeSync(fd, Buffer.from(all, "latin1"));
  await until(() => line.received.length === 256);
  expect(line.received).toBe(all);
  expect(read()).toBe("");
  end();
});

test("a reader that stands still stops nobody, and gets all of it up to the bound", async () => {
  const { line, readUntil, end } = build();
  const text = Array.from({ length: 16_000 }, (_, i) => String.fromCharCode(97 + (i % 26))).join("");
  line.send(text);
  let ticks = 0;
  const clock = setInterval(() => {
    ticks += 1;
  }, 1);
  await until(() => ticks > 20);
  clearInterval(clock);
  expect(await readUntil(text.length)).toBe(text);
  expect(line.said).not.toContain("output dropped: nobody takes it");
  end();
});

test("a reader that is slow gets everything from a device that waits for it", async () => {
  const { line, readUntil, end } = build();
  const text = counting(200_000);
  const sent = line.sendAll(text);
  expect(await readUntil(text.length)).toBe(text);
  await sent;
  expect(line.said).not.toContain("output dropped: nobody takes it");
  end();
});

test("what is too much is dropped and told", async () => {
  const { line, end } = build();
  line.send("x".repeat(300_000));
  await until(() => line.said.includes("output dropped: nobody takes it"));
  end();
});

test("a reader may go and another come", async () => {
  const { line, path, end } = build();
  for (const word of ["first", "second"]) {
    const fd = openSync(path, constants.O_RDWR | constants.O_NOCTTY);
    writeSync(fd, word);
    await until(() => line.received.endsWith(word));
    closeSync(fd);
  }
  expect(line.received).toBe("firstsecond");
  expect(line.said).toEqual(["serial line opened"]);
  end();
});
