/* A play as JSON: docs/formats.md. */
#include "show.h"
#include "snapshot_json.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static void write_both(struct json *j, const char *key, const char *en, const char *zh)
{
    json_key(j, key);
    if (!en && !zh) {
        json_null(j);
        return;
    }
    json_open(j, '{');
    json_member_text(j, "en", en ? en : zh);
    json_member_text(j, "zh", zh ? zh : en);
    json_close(j, '}');
}

static void write_path(struct json *j, const struct play *play, size_t i)
{
    const struct step *s = &play->steps[i];
    json_key(j, "path");
    json_open(j, '[');
    for (size_t k = 0; k < s->event_count; k++) {
        const struct qy_probe_event *e = &s->events[k];
        json_open(j, '{');
        json_member_text(j, "store", tell_store(e));
        json_member_text(j, "did", tell_did(e));
        if (e->did == QY_DID_ASKED)
            json_member_bool(j, "found", tell_answer(s, k));
        json_member_number(j, "at", e->at);
        json_key(j, "size");
        json_signed(j, (int64_t)e->bytes);
        write_both(j, "text", tell_event(play, i, k, ENGLISH).text, tell_event(play, i, k, CHINESE).text);
        json_close(j, '}');
    }
    json_close(j, ']');
}

static void write_system_calls(struct json *j, const struct step *s)
{
    json_key(j, "system_calls");
    json_open(j, '[');
    for (size_t k = 0; k < s->event_count; k++) {
        const struct qy_probe_event *e = &s->events[k];
        if (e->did < QY_DID_BRK)
            continue;
        json_open(j, '{');
        json_member_text(j, "name", tell_did(e));
        json_member_number(j, "at", e->at);
        json_key(j, "size");
        json_signed(j, (int64_t)e->bytes);
        json_close(j, '}');
    }
    json_close(j, ']');
}

/* What each variable holds after the step. */
static void write_variables(struct json *j, const struct play *play, size_t i)
{
    json_key(j, "variables");
    json_open(j, '{');
    size_t from = i;
    while (from > 0 && play->steps[from].statement->kind != RESTART)
        from--;
    for (size_t k = from; k <= i; k++) {
        const char *name = play->steps[k].statement->variable;
        bool again = false;
        for (size_t later = k + 1; name && later <= i && !again; later++) {
            const char *other = play->steps[later].statement->variable;
            again = other && strcmp(other, name) == 0;
        }
        if (name && !again)
            json_member_number(j, name, play->steps[k].reply.result);
    }
    json_close(j, '}');
}

static void write_call(struct json *j, const struct step *s)
{
    const struct statement *said = s->statement;
    json_member_number(j, "thread", said->thread);
    json_member_number(j, "tid", s->reply.tid);
    json_member_text(j, "call",
                     said->kind == CALL      ? said->call_name
                     : said->kind == RESTART ? "restart"
                                             : NULL);
    json_key(j, "arguments");
    json_open(j, '[');
    for (size_t k = 0; k < said->argument_count; k++)
        json_signed(j, (int64_t)s->arguments[k]);
    json_close(j, ']');
    json_key(j, "result");
    if (said->variable)
        json_number(j, s->reply.result);
    else
        json_null(j);
    json_member_text(j, "variable", said->variable);
    json_member_text(j, "error",
                     s->reply.error && said->kind == CALL ? strerrorname_np(s->reply.error) : NULL);
    json_member_text(j, "signal", s->reply.signal ? sigabbrev_np(s->reply.signal) : NULL);
}

static void write_step(struct json *j, const struct play *play, size_t i)
{
    const struct step *s = &play->steps[i];
    json_open(j, '{');
    json_member_number(j, "line", s->statement->line);
    json_member_text(j, "text", s->statement->text);
    write_call(j, s);
    struct sentence en = tell_result(play, i, ENGLISH), zh = tell_result(play, i, CHINESE);
    write_both(j, "outcome", *en.text ? en.text : NULL, *zh.text ? zh.text : NULL);
    write_variables(j, play, i);
    write_path(j, play, i);
    json_member_number(j, "path_left_out", s->events_left_out);
    write_system_calls(j, s);
    json_key(j, "faults");
    json_open(j, '[');
    for (size_t k = 0; k < s->fault_count; k++)
        json_number(j, s->faults[k]);
    json_close(j, ']');
    json_key(j, "written_over");
    json_open(j, '[');
    for (size_t k = 0; k < s->written_over_count; k++) {
        char word[24];
        snprintf(word, sizeof word, "0x%" PRIx64, s->written_over[k].word); /* may be above 2^53 */
        json_open(j, '{');
        json_member_number(j, "at", s->written_over[k].at);
        json_member_text(j, "word", word);
        json_close(j, '}');
    }
    json_close(j, ']');
    json_member_text(j, "message", s->message);
    write_both(j, "explain", s->statement->en, s->statement->zh);
    json_key(j, "snapshot");
    snapshot_json(j, &s->model);
    json_close(j, '}');
    json_line(j);
}

void play_json(struct json *j, const struct play *play, const char *lesson)
{
    const struct script *script = play->script;
    json_open(j, '{');
    json_member_text(j, "format", "quarry-play");
    json_member_number(j, "version", 1);
    write_both(j, "title", script->title ? script->title : script->path, script->title_zh);
    json_member_text(j, "lesson", lesson);
    json_key(j, "covers");
    json_open(j, '[');
    for (size_t i = 0; i < script->cover_count; i++)
        json_text(j, script->covers[i]);
    json_close(j, ']');
    json_member_text(j, "profile", script->classic ? "classic" : "default");
    json_member_text(j, "script", script->text);
    json_member_number(j, "checked", play->checked);
    json_key(j, "steps");
    json_open(j, '[');
    for (size_t i = 0; i < play->count; i++)
        write_step(j, play, i);
    json_close(j, ']');
    json_close(j, '}');
}
