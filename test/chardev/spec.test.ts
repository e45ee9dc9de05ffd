// SPDX-License-Identifier: MIT
import { parseChardevSpec } from "../../src/chardev/index.js";

test.each([
  ["null", { kind: "null" }],
  ["stdio", { kind: "stdio" }],
  ["pty", { kind: "pty" }],
  ["file:/var/log/guest", { kind: "file", path: "/var/log/guest" }],
  ["file:a:b", { kind: "file", path: "a:b" }],
  ["unix:/run/guest.sock", { kind: "unix", path: "/run/guest.sock" }],
])("%s is understood", (text, expected) => {
  expect(parseChardevSpec(text)).toEqual(expected);
});

test.each([
  ["", /"" is no chardev.*Expected: null, stdio, pty, file:PATH, unix:PATH/],
  ["stdoi", /did you mean stdio\?/],
  ["unx:/a", /did you mean unix\?/],
  ["unix", /no path; write unix:PATH/],
  ["file:", /no path; write file:PATH/],
  ["pty:/dev/pts/1", /pty stands alone/],
  [`unix:/${"x".repeat(107)}`, /at most 107 bytes/],
])("%s is refused, with what would be right", (text, message) => {
  expect(() => parseChardevSpec(text)).toThrow(
    expect.objectContaining({ code: "CHARDEV_INVALID", message: expect.stringMatching(message) }),
  );
});
