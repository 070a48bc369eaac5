/*
 * cmd_completion.c - completion for shells, made from the tables of commands and options.
 *
 * Runs in:  pop3admin, when it is built or an administrator asks for it.
 */
#include "admin.h"

#include <stdio.h>
#include <string.h>

#define GLOBAL_OPTIONS "-c --config -o --option -j --json -h --help"

static bool is_first_of_group(size_t i)
{
	return i == 0 || strcmp(commands[i].group, commands[i - 1].group) != 0;
}

/* Does a user who is there come first behind the command? */
static bool takes_user(const struct command *c)
{
	return strncmp(c->args, "USER", 4) == 0 ||
	       (strcmp(c->group, "user") == 0 && strcmp(c->name, "add") != 0 &&
		strncmp(c->args, "NAME", 4) == 0);
}

static void print_groups(FILE *file)
{
	for (size_t i = 0; i < n_commands; i++)
		if (is_first_of_group(i))
			fprintf(file, "%s%s", i ? " " : "", commands[i].group);
}

/* The commands of the group that begins at row first. */
static void print_commands(FILE *file, size_t first)
{
	for (size_t i = first; i < n_commands; i++) {
		if (i > first && is_first_of_group(i))
			break;
		fprintf(file, "%s%s", i > first ? " " : "", commands[i].name);
	}
}

static void print_options(FILE *file, const struct command *c)
{
	for (size_t i = 0; i < OPT_COUNT; i++)
		if (c->options & WITH(i))
			fprintf(file, " --%s", option_rows[i].name);
}

/* Text between single quotes, for a shell. */
static void print_quoted(FILE *file, const char *text)
{
	putc('\'', file);
	for (; *text; text++)
		if (*text == '\'')
			fputs("'\\''", file);
		else
			putc(*text, file);
	putc('\'', file);
}

static void print_bash(FILE *file)
{
	fputs("# bash completion for pop3admin(8), made by `pop3admin completion bash`.\n"
	      "_pop3admin()\n"
	      "{\n"
	      "\tlocal cur=${COMP_WORDS[COMP_CWORD]} word words=() list skip=\n"
	      "\tfor word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
	      "\t\tif [ -n \"$skip\" ]; then skip=; continue; fi\n"
	      "\t\tcase $word in\n"
	      "\t\t-c|--config|-o|--option) skip=yes ;;\n"
	      "\t\t-*) ;;\n"
	      "\t\t*) words+=(\"$word\") ;;\n"
	      "\t\tesac\n"
	      "\tdone\n"
	      "\tcase \"${#words[@]} ${words[0]} ${words[1]}\" in\n",
	      file);
	fputs("\t'0  ') list='" GLOBAL_OPTIONS " ", file);
	print_groups(file);
	fputs("' ;;\n", file);
	for (size_t i = 0; i < n_commands; i++) {
		const struct command *c = &commands[i];

		if (!is_first_of_group(i) || c->name[0] == '\0')
			continue;
		fprintf(file, "\t'1 %s ') list='", c->group);
		print_commands(file, i);
		fputs("' ;;\n", file);
	}
	for (size_t i = 0; i < n_commands; i++) {
		const struct command *c = &commands[i];

		fprintf(file, "\t[0-9]*' %s %s')\n\t\tlist='-j -h", c->group, c->name);
		print_options(file, c);
		fputs("'\n", file);
		if (takes_user(c))
			fputs("\t\t[ ${#words[@]} -gt 2 ] || list+=\" $(_pop3admin_users)\"\n",
			      file);
		fputs("\t\t;;\n", file);
	}
	fputs("\tesac\n"
	      "\t# shellcheck disable=SC2207\n"
	      "\tCOMPREPLY=($(compgen -W \"$list\" -- \"$cur\"))\n"
	      "}\n"
	      "_pop3admin_users()\n"
	      "{\n"
	      "\tpop3admin user list 2>/dev/null | awk 'NR > 1 { print $1 }'\n"
	      "}\n"
	      "complete -o default -F _pop3admin pop3admin\n",
	      file);
}

static void print_zsh(FILE *file)
{
	fputs("#compdef pop3admin\n"
	      "# zsh completion for pop3admin(8), made by `pop3admin completion zsh`.\n"
	      "_pop3admin() {\n"
	      "\tlocal -a rows words_only\n"
	      "\twords_only=(${${words[2,CURRENT-1]}:#-*})\n"
	      "\tcase \"$#words_only $words_only[1] $words_only[2]\" in\n"
	      "\t'0  ') rows=(",
	      file);
	print_groups(file);
	fputs("); _describe group rows ;;\n", file);
	for (size_t i = 0; i < n_commands; i++) {
		if (!is_first_of_group(i) || commands[i].name[0] == '\0')
			continue;
		fprintf(file, "\t'1 %s ') rows=(\n", commands[i].group);
		for (size_t j = i; j < n_commands && (j == i || !is_first_of_group(j)); j++) {
			fprintf(file, "\t\t%s:", commands[j].name);
			print_quoted(file, commands[j].help);
			putc('\n', file);
		}
		fputs("\t\t); _describe command rows ;;\n", file);
	}
	for (size_t i = 0; i < n_commands; i++) {
		const struct command *c = &commands[i];

		fprintf(file, "\t<->' %s %s') rows=(", c->group, c->name);
		for (size_t j = 0; j < OPT_COUNT; j++)
			if (c->options & WITH(j)) {
				fprintf(file, "--%s:", option_rows[j].name);
				print_quoted(file, option_rows[j].help);
				putc(' ', file);
			}
		fprintf(file, "); _describe option rows; %s ;;\n",
			takes_user(c) ? "compadd -- ${(f)\"$(pop3admin user list 2>/dev/null |"
					" awk 'NR > 1 { print $1 }')\"}"
				      : "_files");
	}
	fputs("\tesac\n"
	      "}\n"
	      "_pop3admin \"$@\"\n",
	      file);
}

static void print_fish(FILE *file)
{
	fputs("# fish completion for pop3admin(8), made by `pop3admin completion fish`.\n"
	      "complete -c pop3admin -s c -l config -r -d 'configuration file'\n"
	      "complete -c pop3admin -s o -l option -x -d 'override one configuration key'\n"
	      "complete -c pop3admin -s j -l json -d 'one JSON document'\n"
	      "complete -c pop3admin -s h -l help -d 'help'\n"
	      "function __pop3admin_users\n"
	      "\tpop3admin user list 2>/dev/null | awk 'NR > 1 { print $1 }'\n"
	      "end\n",
	      file);
	for (size_t i = 0; i < n_commands; i++) {
		const struct command *c = &commands[i];

		if (is_first_of_group(i))
			fprintf(file, "complete -c pop3admin -n __fish_use_subcommand -f -a %s\n",
				c->group);
		if (c->name[0]) {
			fprintf(file,
				"complete -c pop3admin -n '__fish_seen_subcommand_from %s' -f "
				"-a %s -d ",
				c->group, c->name);
			print_quoted(file, c->help);
			putc('\n', file);
		}
		for (size_t j = 0; j < OPT_COUNT; j++) {
			if (!(c->options & WITH(j)))
				continue;
			fprintf(file,
				"complete -c pop3admin -n '__fish_seen_subcommand_from %s; and "
				"__fish_seen_subcommand_from %s' -l %s %s-d ",
				c->group, c->name[0] ? c->name : c->group, option_rows[j].name,
				option_rows[j].arg ? "-r " : "");
			print_quoted(file, option_rows[j].help);
			putc('\n', file);
		}
		if (takes_user(c))
			fprintf(file,
				"complete -c pop3admin -n '__fish_seen_subcommand_from %s; and "
				"__fish_seen_subcommand_from %s' -f -a '(__pop3admin_users)'\n",
				c->group, c->name);
	}
}

int cmd_completion(struct admin *a)
{
	static const struct {
		const char *name;
		void (*print)(FILE *file);
	} shells[] = { { "bash", print_bash }, { "zsh", print_zsh }, { "fish", print_fish } };

	for (size_t i = 0; i < sizeof(shells) / sizeof(shells[0]); i++)
		if (strcmp(a->pos[0], shells[i].name) == 0) {
			shells[i].print(a->out.file);
			return 0;
		}
	return fail(EX_USAGE, "completion %s: no such shell here; bash, zsh or fish", a->pos[0]);
}
