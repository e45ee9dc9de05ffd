// SPDX-License-Identifier: MIT
/* The suites on a real Xen: test/real-xen/lab does the work, once everything is built. */
"use strict";

require("./setup.cjs");
require("../dist/test/real-xen/lab/main.js");
