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

/** A command, by the words that lead to it: "", "run", "device add". */
interface Named {
  readonly name: string;
  readonly command: Command;
  /** The one above. Commander's own `help` does not know its. */
  readonly parent: Command;
}

/** A script for bash; it needs nothing of the bash-completion package. */
export function bashCompletion(program: Command): string {
  const all = namedCommands(program, "", program);
  const options = all.flatMap(({ name, command }) =>
    visibleOptions(command).map((option) => ({
      patterns: spellings(option)
        .map((spelling) => `"${name} ${spelling}"`)
        .join(" | "),
      value: optionValue(option),
    })),
  );
  const valued = options.filter(({ value }) => value !== null);
  const parts: Record<string, string[]> = {
    VALUED: valued.map(({ patterns }) => patterns),
    VALUES: valued.map(({ patterns, value }) => clause(patterns, value as string, "return")),
    NESTED: all
      .filter(({ name, command }) => name !== "" && command.commands.length > 0)
      .map(({ name }) => clause(`"${name}"`, 'command+=" $word"')),
    OPTIONS: all.map(({ name, command }) =>
      clause(`"${name}"`, words(visibleOptions(command).flatMap((option) => spellings(option)))),
    ),
    OPERANDS: all.flatMap(operands),
  };
  return FRAME.replace(/@([A-Z]+)@/g, (_, part: string) => (parts[part] ?? []).join(part === "VALUED" ? " | " : "\n"));
}

/** The command itself, and all below it. */
function namedCommands(command: Command, name: string, parent: Command): Named[] {
  const below = visibleCommands(command).flatMap((one) => namedCommands(one, `${name} ${one.name()}`.trim(), command));
  return [{ name, command, parent }, ...below];
}

const visibleCommands = (command: Command): Command[] =>
  command.commands.length === 0 ? [] : command.createHelp().visibleCommands(command);
const visibleOptions = (command: Command): Option[] => command.createHelp().visibleOptions(command);

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

/** What completes the nth word after a command, each. */
function operands({ name, command, parent }: Named): string[] {
  const names = words(visibleCommands(command).map((one) => one.name()));
  if (command.commands.length > 0) return [clause(`"${name} 0"`, names)];
  return command.registeredArguments.map((argument, i) => {
    const place = argument.variadic ? `"${name} "*` : `"${name} ${i}"`;
    return clause(place, operand(argument, parent));
  });
}

/** `parent`: the command above. */
function operand(argument: Argument, parent: Command): string {
  if (argument.argChoices !== undefined) return words(argument.argChoices);
  // Of `help`; that of `sim` is a program with its arguments.
  if (argument.name() === "command") {
    return argument.variadic ? "_ioreqd_programs" : words(visibleCommands(parent).map((one) => one.name()));
  }
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

# Options that are followed by a value, each behind its command.
_ioreqd_valued() {
  case $1 in
    @VALUED@) return 0 ;;
  esac
  return 1
}

_ioreqd() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD - 1]} self=\${COMP_WORDS[0]} command= position=0 word i
  COMPREPLY=()
  # Of --option=value bash makes three words.
  if [[ $cur == = ]]; then
    cur=
  elif [[ $prev == = ]]; then
    prev=\${COMP_WORDS[COMP_CWORD - 2]}
  fi
  # The command, and how many words of its own stand before this one.
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    if [[ $word == -* ]]; then
      _ioreqd_valued "$command $word" || continue
      ((i += 1))
      [[ \${COMP_WORDS[i]} == = ]] && ((i += 1))
      continue
    fi
    case "$command" in
    "") command=$word ;;
@NESTED@
    *) ((position += 1)) ;;
    esac
  done
  case "$command $prev" in
@VALUES@
  esac
  if [[ $cur == -* ]]; then
    case $command in
@OPTIONS@
    esac
  else
    case "$command $position" in
@OPERANDS@
    esac
  fi
}
complete -F _ioreqd ioreqd`;
