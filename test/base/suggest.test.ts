// SPDX-License-Identifier: MIT
import { didYouMean, nearest } from "../../src/base/suggest.js";

const devices = ["edu", "pci-testdev", "virtio-net", "virtio-blk", "serial"];

test.each([
  ["virtio-nett", "virtio-net"],
  ["VIRTIO-BLK", "virtio-blk"],
  ["sreial", "serial"],
  ["ed", "edu"],
  ["edu", "edu"],
])("%s means %s", (typed, meant) => {
  expect(nearest(typed, devices)).toBe(meant);
});

test.each(["nothing-alike", "xyz123", ""])("%p is like none of them", (typed) => {
  expect(nearest(typed, ["virtio-net", "serial"])).toBeUndefined();
  expect(didYouMean(typed, ["virtio-net", "serial"])).toBe(".");
});

test("short words that share nothing are not near", () => {
  expect(nearest("x", ["ab"])).toBeUndefined();
});

test("nothing is near when there is nothing", () => {
  expect(nearest("edu", [])).toBeUndefined();
});

test("the hint is ready to be appended", () => {
  expect(didYouMean("seriall", devices)).toBe("; did you mean serial?");
});
