// SPDX-License-Identifier: MIT
/** `ioreqd completion bash`: the completion of the command line, made from its own definition. */

import type { Argument, Command, Option } from "commander";

/** Functions of the script below, each for a kind of value. */
const BY_PLACEHOLDER: Readonly<Record<string, string>> = {
  file: "_ioreqd_files",
  dir: "_ioreqd_directories",
  spec: "_ioreqd_specs",
  device: "_ioreqd_devices",
  domid: "_ioreqd_served",
  guest: "_ioreqd_guests",
  program: "_ioreqd_files",
};

/** A script for bash; it needs nothing of the bash-completion package. */
export function bashCompletion(program: Command): string {
  const help = program.createHelp();
  const commands = help.visibleCommands(program);
  const names = words(commands.map((command) => command.name()));
  const all = [program, ...commands];
  const nameOf = (command: Command): string => (command === program ? "" : command.name());
  const values = all.flatMap((command) =>
    help.visibleOptions(command).flatMap((option) => {
      const patterns = spellings(option).map((spelling) => `"${nameOf(command)} ${spelling}"`);
      const act = optionValue(option);
      return act === null ? [] : [clause(patterns.join(" | "), act, "return")];
    }),
  );
  const options = all.map((command) =>
    clause(`"${nameOf(command)}"`, words(help.visibleOptions(command).flatMap(spellings))),
  );
  const operands = commands.flatMap((command) =>
    command.registeredArguments.slice(0, 1).map((argument) => clause(command.name(), operand(argument, names))),
  );
  const parts: Record<string, string[]> = {
    VALUES: values,
    OPTIONS: options,
    OPERANDS: [clause('""', names), ...operands],
  };
  return FRAME.replace(/@([A-Z]+)@/g, (_, part: string) => (parts[part] ?? []).join("\n"));
}

const words = (list: readonly string[]): string => `_ioreqd_words "${list.join(" ")}"`;
const clause = (pattern: string, ...acts: string[]): string => `    ${pattern}) ${acts.join("; ")} ;;`;
const spellings = ({ short, long }: Option): string[] => [short, long].filter((name) => name != null);

/** What completes an option's value; null for an option without one. */
function optionValue(option: Option): string | null {
  if (!option.required) return null;
  if (option.argChoices !== undefined) return words(option.argChoices);
  if (option.attributeName() === "domid") return "_ioreqd_domids";
  return BY_PLACEHOLDER[/<([^>]+)>/.exec(option.flags)?.[1] ?? ""] ?? ":";
}

function operand(argument: Argument, commands: string): string {
  if (argument.argChoices !== undefined) return words(argument.argChoices);
  // Of `help`; that of `sim` is a program with its arguments.
  if (argument.name() === "command") return argument.variadic ? "_ioreqd_programs" : commands;
  return BY_PLACEHOLDER[argument.name()] ?? ":";
}

/** What is the same for all commands. $cur is the word to complete, $self the program as it was typed. */
const FRAME = `# bash completion for ioreqd, as printed by: ioreqd completion bash

_ioreqd_reply() {
  local word
  while IFS= read -r word; do
    [[ $word == "$cur"* ]] && COMPREPLY+=("$word")
  done
}
_ioreqd_words() { _ioreqd_reply < <(compgen -W "$1"); }
_ioreqd_files() {
  _ioreqd_reply < <(compgen -f -- "$cur")
  compopt -o filenames 2>/dev/null
}
_ioreqd_directories() {
  _ioreqd_reply < <(compgen -d -- "$cur")
  compopt -o filenames 2>/dev/null
}
_ioreqd_programs() { _ioreqd_reply < <(compgen -c -- "$cur" | sort -u); }

# A device is known by its name, or is a module with a path.
_ioreqd_devices() {
  local name rest
  if [[ $cur == */* || $cur == .* ]]; then
    _ioreqd_files
  else
    _ioreqd_reply < <("$self" devices 2>/dev/null | while read -r name rest; do echo "$name"; done)
  fi
}
_ioreqd_specs() {
  _ioreqd_devices
  compopt -o nospace 2>/dev/null # ,key=value may follow
}

# Guests of this host; as root, and where xl is.
_ioreqd_xl() {
  local name id rest
  xl list 2>/dev/null | while read -r name id rest; do
    [[ $id =~ ^[1-9][0-9]*$ ]] && echo "$name $id"
  done
}
_ioreqd_domids() { _ioreqd_reply < <(_ioreqd_xl | while read -r name id; do echo "$id"; done); }
_ioreqd_guests() { _ioreqd_reply < <(_ioreqd_xl | while read -r name id; do printf '%s\\n' "$name" "$id"; done); }

# Domains with a state file.
_ioreqd_served() {
  local directory=/run/ioreqd i state
  for ((i = 1; i < COMP_CWORD; i++)); do
    [[ \${COMP_WORDS[i]} == --state-dir ]] || continue
    directory=\${COMP_WORDS[i + 1]}
    [[ $directory == = ]] && directory=\${COMP_WORDS[i + 2]}
  done
  _ioreqd_reply < <(for state in "$directory"/*/state; do
    [[ -e $state ]] && state=\${state%/state} && echo "\${state##*/}"
  done)
}

_ioreqd() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD - 1]} self=\${COMP_WORDS[0]} command= i
  COMPREPLY=()
  # Of --option=value bash makes three words.
  if [[ $cur == = ]]; then
    cur=
  elif [[ $prev == = ]]; then
    prev=\${COMP_WORDS[COMP_CWORD - 2]}
  fi
  for ((i = 1; i < COMP_CWORD; i++)); do
    [[ \${COMP_WORDS[i]} == -* ]] || { command=\${COMP_WORDS[i]} && break; }
  done
  case "$command $prev" in
@VALUES@
  esac
  if [[ $cur == -* ]]; then
    case $command in
@OPTIONS@
    esac
  else
    case $command in
@OPERANDS@
    esac
  fi
}
complete -F _ioreqd ioreqd`;
