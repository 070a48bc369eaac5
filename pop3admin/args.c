/*
 * args.c - the command line of pop3admin, and the help that follows from the
 * table of commands.
 *
 * Runs in:  pop3admin, as whoever called it.
 * Trusts:   its caller.
 */
#include "admin.h"

#include <stdio.h>
#include <string.h>

/* For "%s%s%s": "user add", or "stats" alone. */
#define NAME_OF(cmd) (cmd)->group, (cmd)->name[0] ? " " : "", (cmd)->name
#define WORD_MAX     32 /* longer words resemble nothing of ours */

static size_t least_of(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Edits (insert, delete, change, swap neighbours) that make b of a. */
static size_t distance(const char *a, const char *b)
{
	size_t d[WORD_MAX + 1][WORD_MAX + 1];
	size_t n = strlen(a), m = strlen(b), i, j;

	if (n > WORD_MAX || m > WORD_MAX)
		return WORD_MAX;
	for (i = 0; i <= n; i++)
		d[i][0] = i;
	for (j = 0; j <= m; j++)
		d[0][j] = j;
	for (i = 1; i <= n; i++) {
		for (j = 1; j <= m; j++) {
			d[i][j] = least_of(d[i - 1][j - 1] + (a[i - 1] != b[j - 1]),
					   least_of(d[i - 1][j], d[i][j - 1]) + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				d[i][j] = least_of(d[i][j], d[i - 2][j - 2] + 1);
		}
	}
	return d[n][m];
}

/* The better of best and candidate for a mistyped word; NULL: none is near. */
static const char *nearer(const char *word, const char *best, const char *candidate)
{
	size_t near = distance(word, candidate);

	if (near > 2 || near >= strlen(candidate))
		return best;
	return !best || near < distance(word, best) ? candidate : best;
}

static bool group_exists(const char *group)
{
	size_t i;

	for (i = 0; i < n_commands; i++)
		if (strcmp(commands[i].group, group) == 0)
			return true;
	return false;
}

static int no_group(const char *word)
{
	const char *best = NULL;
	size_t i;

	for (i = 0; i < n_commands; i++)
		best = nearer(word, best, commands[i].group);
	if (best)
		return fail(EX_USAGE, "%s: no such group of commands; did you mean %s?", word,
			    best);
	return fail(EX_USAGE, "%s: no such group of commands; pop3admin --help lists them", word);
}

static int no_command(const char *group, const char *word)
{
	const char *best = NULL;
	size_t i;

	for (i = 0; i < n_commands; i++)
		if (strcmp(commands[i].group, group) == 0)
			best = nearer(word, best, commands[i].name);
	if (best)
		return fail(EX_USAGE, "%s %s: no such command; did you mean %s %s?", group, word,
			    group, best);
	return fail(EX_USAGE, "%s %s: no such command; pop3admin %s --help lists them", group, word,
		    group);
}

static const char *const global_names[] = { "config", "option", "json", "help", "version" };

static int no_option(const struct command *cmd, const char *word)
{
	const char *best = NULL;
	size_t i;

	for (i = 0; i < sizeof(global_names) / sizeof(global_names[0]); i++)
		best = nearer(word, best, global_names[i]);
	for (i = 0; cmd && i < OPT_COUNT; i++)
		if (cmd->options & WITH(i))
			best = nearer(word, best, option_rows[i].name);
	if (best)
		return fail(EX_USAGE, "--%s: no such option here; did you mean --%s?", word, best);
	return fail(EX_USAGE, "--%s: no such option here; --help lists them", word);
}

static const struct command *find_command(const char *group, const char *name)
{
	size_t i;

	for (i = 0; i < n_commands; i++)
		if (strcmp(commands[i].group, group) == 0 && strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

static void print_synopsis(FILE *f, const struct command *cmd)
{
	size_t i;

	fprintf(f, "pop3admin %s%s%s", NAME_OF(cmd));
	if (*cmd->args)
		fprintf(f, " %s", cmd->args);
	for (i = 0; i < OPT_COUNT; i++) {
		if (!(cmd->options & WITH(i)) || i == OPT_ALL)
			continue;
		fprintf(f, " [--%s%s%s]", option_rows[i].name, option_rows[i].arg ? " " : "",
			option_rows[i].arg ? option_rows[i].arg : "");
	}
	putc('\n', f);
}

static void print_globals(void)
{
	puts("Options for every command:\n"
	     "  -c, --config FILE       the configuration (" CONF_DEFAULT_FILE ")\n"
	     "  -o, --option KEY=VALUE  overrides one key of it; may be repeated\n"
	     "  -j, --json              print one JSON document\n"
	     "  -h, --help              this help; behind a command, that command's\n"
	     "  -V, --version           print the version");
}

/* A line for a command; what a column cannot hold puts the help on a line of its own. */
static void print_row(const struct command *c)
{
	printf("  %-10s %-10s ", c->group, c->name);
	if (strlen(c->args) > 11)
		printf("%s\n%36s", c->args, "");
	else
		printf("%-11s ", c->args);
	puts(c->help);
}

void usage_print(const char *group, const struct command *cmd)
{
	const char *before = "";
	size_t i;

	if (cmd) {
		printf("usage: ");
		print_synopsis(stdout, cmd);
		printf("%s.\n", cmd->help);
		for (i = 0; i < OPT_COUNT; i++)
			if (cmd->options & WITH(i))
				printf("  --%-8s %-5s %s\n", option_rows[i].name,
				       option_rows[i].arg ? option_rows[i].arg : "",
				       option_rows[i].help);
		printf("Example: %s\n", cmd->example);
		return;
	}
	puts("usage: pop3admin [-c FILE] [-o KEY=VALUE]... [-j] GROUP COMMAND [ARG...]");
	for (i = 0; i < n_commands; i++) {
		if (group && strcmp(commands[i].group, group) != 0)
			continue;
		if (strcmp(before, commands[i].group) != 0)
			putchar('\n');
		before = commands[i].group;
		print_row(&commands[i]);
	}
	putchar('\n');
	print_globals();
	puts("Exit status: 0 done, 1 not well, 64 usage, 65 bad data, 67 no such user,\n"
	     "73 cannot create, 74 I/O error, 75 try again, 77 not permitted, 78 configuration.");
}

/* Where args_parse() stands. */
struct parse {
	struct admin *a;
	int argc, i;
	char **argv;
	const char *group;
	const struct command *cmd;
};

/* The argument of an option: behind '=', or joined to its letter, or the next word. */
static const char *option_arg(struct parse *p, const char *joined)
{
	if (joined)
		return joined;
	return p->i + 1 < p->argc ? p->argv[++p->i] : NULL;
}

/* arg is NULL for j and h alone. */
static int take_global(struct parse *p, char letter, const char *arg)
{
	switch (letter) {
	case 'c':
		p->a->conf_path = arg;
		p->a->conf_given = true;
		break;
	case 'o':
		if (!arg || !strchr(arg, '='))
			return fail(EX_CONFIG, "-o %s: has no '='; write -o KEY=VALUE",
				    arg ? arg : "");
		p->a->overrides[p->a->n_overrides++] = arg;
		break;
	case 'j':
		p->a->out.json = true;
		break;
	case 'h':
		p->a->help = true;
		break;
	}
	return 0;
}

static int parse_short(struct parse *p, const char *word)
{
	const char *arg = NULL;

	for (word++; *word; word++) {
		if (*word == 'V')
			return -1;
		if (*word != 'c' && *word != 'o' && *word != 'j' && *word != 'h')
			return fail(EX_USAGE, "-%c: no such option; pop3admin --help lists them",
				    *word);
		if (*word == 'j' || *word == 'h') {
			take_global(p, *word, NULL);
			continue;
		}
		arg = option_arg(p, word[1] ? word + 1 : NULL);
		if (!arg)
			return fail(EX_USAGE, "-%c: its argument is missing", *word);
		return take_global(p, *word, arg);
	}
	return 0;
}

static int parse_command_option(struct parse *p, const char *name, const char *joined)
{
	const char *arg;
	size_t i;

	for (i = 0; i < OPT_COUNT; i++)
		if (strcmp(option_rows[i].name, name) == 0)
			break;
	if (i == OPT_COUNT || !p->cmd || !(p->cmd->options & WITH(i)))
		return no_option(p->cmd, name);
	if (p->a->opt[i])
		return fail(EX_USAGE, "--%s: given twice", name);
	if (!option_rows[i].arg) {
		if (joined)
			return fail(EX_USAGE, "--%s: takes no argument", name);
		p->a->opt[i] = "";
		return 0;
	}
	arg = option_arg(p, joined);
	if (!arg)
		return fail(EX_USAGE, "--%s: its argument %s is missing", name, option_rows[i].arg);
	p->a->opt[i] = arg;
	return 0;
}

static int parse_long(struct parse *p, const char *word)
{
	char name[WORD_MAX];
	const char *joined = strchr(word, '='), *arg;
	size_t n = joined ? (size_t)(joined - word) : strlen(word), i;

	if (n >= sizeof(name))
		return fail(EX_USAGE, "--%s: no such option; --help lists them", word);
	memcpy(name, word, n);
	name[n] = '\0';
	if (joined)
		joined++;
	for (i = 0; i < sizeof(global_names) / sizeof(global_names[0]); i++)
		if (strcmp(name, global_names[i]) == 0)
			break;
	if (i == sizeof(global_names) / sizeof(global_names[0]))
		return parse_command_option(p, name, joined);
	if (name[0] == 'v' && !joined)
		return -1;
	if (name[0] == 'c' || name[0] == 'o') {
		arg = option_arg(p, joined);
		if (!arg)
			return fail(EX_USAGE, "--%s: its argument is missing", name);
		return take_global(p, name[0], arg);
	}
	if (joined)
		return fail(EX_USAGE, "--%s: takes no argument", name);
	return take_global(p, name[0], NULL);
}

static int parse_word(struct parse *p, const char *word)
{
	if (!p->group) {
		if (!group_exists(word))
			return no_group(word);
		p->group = word;
		p->cmd = find_command(word, "");
		return 0;
	}
	if (!p->cmd) {
		p->cmd = find_command(p->group, word);
		return p->cmd ? 0 : no_command(p->group, word);
	}
	if (p->a->n_pos == p->cmd->most)
		return fail(EX_USAGE,
			    "%s%s%s: one argument too many, '%s'; see pop3admin %s%s%s --help",
			    NAME_OF(p->cmd), word, NAME_OF(p->cmd));
	p->a->pos[p->a->n_pos++] = word;
	return 0;
}

static int complete(struct parse *p)
{
	if (p->a->help) {
		usage_print(p->group, p->cmd);
		return 0;
	}
	if (!p->group)
		return fail(EX_USAGE, "no command given; pop3admin --help lists them");
	if (!p->cmd)
		return fail(EX_USAGE, "%s: which command? pop3admin %s --help lists them", p->group,
			    p->group);
	if (p->a->n_pos < p->cmd->least) {
		fail(EX_USAGE, "%s%s%s: an argument is missing (%s)", NAME_OF(p->cmd),
		     p->cmd->args);
		fputs("usage: ", stderr);
		print_synopsis(stderr, p->cmd);
		return EX_USAGE;
	}
	return 0;
}

int args_parse(struct admin *a, int argc, char **argv, const struct command **cmd)
{
	struct parse p = { .a = a, .argc = argc, .argv = argv };
	bool options = true;
	int status = 0;

	for (p.i = 1; p.i < argc && !status; p.i++) {
		const char *word = argv[p.i];

		if (options && strcmp(word, "--") == 0)
			options = false;
		else if (options && word[0] == '-' && word[1] == '-')
			status = parse_long(&p, word + 2);
		else if (options && word[0] == '-' && word[1])
			status = parse_short(&p, word);
		else
			status = parse_word(&p, word);
	}
	if (status < 0) {
		puts("pop3admin " VERSION);
		a->help = true;
		return 0;
	}
	if (!status)
		status = complete(&p);
	*cmd = p.cmd;
	return status;
}
