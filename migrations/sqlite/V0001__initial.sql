-- The first schema. Times are INTEGER Unix milliseconds, UTC. Words (status, reason, kind …) are the ones users see.
-- Rows have ordered integer keys; foreign ids (the task UUID, an event's id) have a unique index of their own.
--
-- Queues: tasks, assets and deliveries carry `due_at`, `lease_until`, `lease_epoch`, `attempts`. A row is ready when
-- nobody holds it and `due_at` has come, or when its lease has lapsed; the generated columns `submit_at`, `query_at`,
-- `wake_at`, `copy_at` and `send_at` say when, and are NULL for rows that no worker waits for. The indexes on them
-- hold open rows only, so a claim costs the same with ten million finished tasks as with none; the columns are stored,
-- not virtual, so that such an index answers by itself while a claim passes over rows that are not ready.

CREATE TABLE meta (
  key   TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO meta (key, value) VALUES
  ('instance_id', lower(hex(randomblob(16)))),  -- made once, tells this database from any other
  ('clean_stop', '1'),                          -- '0' while a service has it open: found at start, it stopped uncleanly
  ('write_probe', '0');                         -- raised by every readiness probe

CREATE TABLE tasks (
  id               INTEGER PRIMARY KEY,         -- grows with arrival
  uuid             BLOB    NOT NULL UNIQUE CHECK (length(uuid) = 16),
  tenant           TEXT    NOT NULL,
  version          INTEGER NOT NULL CHECK (version >= 1),  -- raised by every decision and every claim
  status           TEXT    NOT NULL CHECK (status IN ('accepted', 'submitting', 'submitted', 'archiving',
                     'completed', 'partial', 'failed', 'timed_out', 'rejected')),
  reason           TEXT,                        -- NULL = no verdict, or a partial one: its assets tell why
  provider_code    TEXT,                        -- NULL = the provider gave none
  origin           TEXT    NOT NULL CHECK (origin IN ('submitted', 'imported', 'recovered')),
  submission       TEXT    NOT NULL CHECK (submission IN ('none', 'confirmed', 'unconfirmed')),
  outcome          TEXT    NOT NULL CHECK (outcome IN ('open', 'known', 'deadline_passed')),
  model            TEXT    NOT NULL,
  number_results   INTEGER NOT NULL CHECK (number_results >= 0),  -- 0 = adopted, not told yet
  items_named      INTEGER NOT NULL CHECK (items_named >= 0),     -- most items a status query has named
  labels           TEXT    NOT NULL CHECK (json_valid(labels)),   -- object of strings
  key_prefix       TEXT,                        -- NULL = none asked for
  ext              TEXT,                        -- NULL = left to the provider's path
  ttl_ms           INTEGER NOT NULL CHECK (ttl_ms >= 0),  -- how long the provider keeps a result at its link
  cost             REAL,                        -- USD; NULL = none reported yet
  failures         TEXT    NOT NULL CHECK (json_valid(failures)), -- array of {code, message, contentPolicy}
  round            INTEGER NOT NULL CHECK (round >= 1),           -- 1, and one more per re-opening
  event_count      INTEGER NOT NULL CHECK (event_count >= 0),     -- the last task_sequence given out
  queries          INTEGER NOT NULL CHECK (queries >= 0),         -- status queries since the last news
  created_at       INTEGER NOT NULL,
  first_attempt_at INTEGER,                     -- NULL = nothing sent that may have been accepted
  submitted_at     INTEGER,                     -- NULL = not submitted
  deadline         INTEGER,                     -- NULL = counts from the submission still to come
  settled_at       INTEGER,                     -- NULL = not settled
  receipt_count    INTEGER NOT NULL DEFAULT 0,  -- callbacks stored
  woken_at         INTEGER,                     -- when a callback first asked for a query; NULL = none since the last
  attempts         INTEGER NOT NULL CHECK (attempts >= 0),  -- claims since the last success
  due_at           INTEGER,                     -- NULL = no worker need look
  lease_until      INTEGER,                     -- NULL = nobody holds it
  lease_epoch      INTEGER NOT NULL DEFAULT 0,  -- raised by every claim
  submit_at        INTEGER GENERATED ALWAYS AS (CASE WHEN status IN ('accepted', 'submitting')
                     THEN coalesce(lease_until, due_at) END) STORED,
  query_at         INTEGER GENERATED ALWAYS AS (CASE WHEN status NOT IN ('accepted', 'submitting')
                     AND due_at IS NOT NULL THEN coalesce(lease_until, due_at) END) STORED,
  wake_at          INTEGER GENERATED ALWAYS AS (CASE WHEN status NOT IN ('accepted', 'submitting', 'completed')
                     THEN woken_at END) STORED,
  CHECK ((status IN ('completed', 'partial', 'failed', 'timed_out', 'rejected')) = (settled_at IS NOT NULL)),
  CHECK (status IN ('completed', 'partial', 'failed', 'timed_out', 'rejected') OR due_at IS NOT NULL)  -- I11
) STRICT;

CREATE INDEX tasks_to_submit ON tasks (created_at, submit_at) WHERE submit_at IS NOT NULL;
CREATE INDEX tasks_submit_at ON tasks (submit_at) WHERE submit_at IS NOT NULL;
CREATE INDEX tasks_query_at ON tasks (query_at) WHERE query_at IS NOT NULL;
CREATE INDEX tasks_wake_at ON tasks (wake_at) WHERE wake_at IS NOT NULL;
CREATE INDEX tasks_leased ON tasks (lease_until) WHERE lease_until IS NOT NULL;
CREATE INDEX tasks_of_tenant ON tasks (tenant);                    -- and the row key: newest first, backwards
CREATE INDEX tasks_of_tenant_by_status ON tasks (tenant, status);  -- likewise within a status

CREATE TABLE task_documents (
  task_id     INTEGER PRIMARY KEY REFERENCES tasks (id) ON DELETE CASCADE,
  fingerprint BLOB    NOT NULL CHECK (length(fingerprint) = 32),  -- SHA-256 of the canonical JSON, before defaults
  entry       TEXT    NOT NULL,                 -- the task's entry in the 202 answer, JSON
  document    TEXT                              -- as it is to be sent; NULL = erased
) STRICT;

CREATE TABLE idempotency_keys (
  id          INTEGER PRIMARY KEY,
  tenant      TEXT    NOT NULL,
  key         TEXT    NOT NULL,
  fingerprint BLOB    NOT NULL CHECK (length(fingerprint) = 32),  -- SHA-256 of the whole body's canonical JSON
  UNIQUE (tenant, key)
) STRICT;

CREATE TABLE idempotency_tasks (
  key_id   INTEGER NOT NULL REFERENCES idempotency_keys (id) ON DELETE CASCADE,
  position INTEGER NOT NULL,                    -- in the request, from 0
  task_id  INTEGER NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
  PRIMARY KEY (key_id, position)
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_keys_of_task ON idempotency_tasks (task_id);

CREATE TABLE assets (
  id                  INTEGER PRIMARY KEY,
  task_id             INTEGER NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
  result_id           TEXT    NOT NULL,
  status              TEXT    NOT NULL CHECK (status IN ('pending', 'archiving', 'archived', 'expired', 'failed')),
  reason              TEXT,                     -- NULL = neither expired nor failed
  round               INTEGER NOT NULL CHECK (round >= 1),  -- 1, and one more per operator retry
  source_url          TEXT    NOT NULL,         -- the provider's link: secret
  archive_by          INTEGER NOT NULL,         -- orders the work; the source may be gone after this
  confirmed           INTEGER NOT NULL CHECK (confirmed IN (0, 1)),  -- 0 = only a callback has shown it
  nsfw                INTEGER CHECK (nsfw IN (0, 1)),  -- NULL = not told
  cost                REAL,                     -- USD; NULL = not reported
  discovered_at       INTEGER NOT NULL,
  object_bucket       TEXT,                     -- NULL = no object is ours
  object_key          TEXT,                     -- NULL likewise
  object_size         INTEGER,                  -- bytes; NULL likewise
  object_sha256       BLOB CHECK (length(object_sha256) = 32),  -- NULL likewise
  object_content_type TEXT,                     -- NULL likewise
  object_duration_ms  INTEGER,                  -- NULL = the container does not tell
  object_width        INTEGER,                  -- pixels; NULL likewise
  object_height       INTEGER,                  -- pixels; NULL likewise
  archived_at         INTEGER,                  -- NULL = no object is ours
  intent              TEXT CHECK (json_valid(intent)),   -- what an upload was about to create; NULL = none was
  trouble             TEXT CHECK (json_valid(trouble)),  -- what went wrong so far; NULL = nothing
  attempts            INTEGER NOT NULL CHECK (attempts >= 0),  -- claims in this round
  due_at              INTEGER,                  -- NULL = terminal
  lease_until         INTEGER,                  -- NULL = nobody holds it
  lease_epoch         INTEGER NOT NULL DEFAULT 0,  -- raised by every claim
  copy_at             INTEGER GENERATED ALWAYS AS (CASE WHEN status IN ('pending', 'archiving')
                        THEN coalesce(lease_until, due_at) END) STORED,
  UNIQUE (task_id, result_id),
  CHECK (status <> 'archived' OR (object_bucket IS NOT NULL AND object_key IS NOT NULL AND object_size IS NOT NULL
    AND object_sha256 IS NOT NULL AND object_content_type IS NOT NULL AND archived_at IS NOT NULL)),  -- I5
  CHECK (status NOT IN ('pending', 'archiving') OR due_at IS NOT NULL)  -- I11
) STRICT;

CREATE INDEX assets_to_copy ON assets (archive_by, copy_at) WHERE copy_at IS NOT NULL;
CREATE INDEX assets_copy_at ON assets (copy_at) WHERE copy_at IS NOT NULL;
CREATE INDEX assets_leased ON assets (lease_until) WHERE lease_until IS NOT NULL;

CREATE TABLE receipts (
  id      INTEGER PRIMARY KEY,
  task_id INTEGER NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
  sha256  BLOB    NOT NULL CHECK (length(sha256) = 32),  -- of the body
  at      INTEGER NOT NULL,
  size    INTEGER NOT NULL,                     -- of the body, bytes
  body    BLOB,                                 -- NULL = done: it needs no further look
  UNIQUE (task_id, sha256)                      -- also finds a task's receipts: few enough to need no index of their own
) STRICT;

CREATE TABLE events (
  sequence      INTEGER PRIMARY KEY AUTOINCREMENT,  -- never given twice
  id            TEXT    NOT NULL UNIQUE,
  kind          TEXT    NOT NULL,
  tenant        TEXT    NOT NULL,
  task_id       INTEGER REFERENCES tasks (id),  -- NULL = an operator event
  task_sequence INTEGER NOT NULL,               -- from 1 without gaps within the task; 0 = an operator event
  at            INTEGER NOT NULL,
  data          TEXT    NOT NULL,               -- what consumers read under `data`, JSON
  UNIQUE (task_id, task_sequence)               -- NULLs differ: operator events are exempt
) STRICT;

CREATE TABLE timeline (
  id      INTEGER PRIMARY KEY,
  task_id INTEGER NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
  at      INTEGER NOT NULL,
  kind    TEXT    NOT NULL,
  detail  TEXT    NOT NULL                      -- JSON, redacted by construction
) STRICT;

CREATE INDEX timeline_of_task ON timeline (task_id);

CREATE TABLE endpoints (
  id          INTEGER PRIMARY KEY,
  public_id   TEXT    NOT NULL UNIQUE,
  tenant      TEXT    NOT NULL,
  url         TEXT    NOT NULL,                 -- empty once deleted
  types       TEXT    NOT NULL CHECK (json_valid(types)),  -- array of event types; empty = the default ones
  format      TEXT    NOT NULL,
  secret      BLOB    NOT NULL,                 -- signing key; empty once deleted
  created_at  INTEGER NOT NULL,
  disabled_at INTEGER,                          -- NULL = enabled
  deleted     INTEGER NOT NULL DEFAULT 0 CHECK (deleted IN (0, 1)),  -- 1 = kept only to name its settled deliveries
  cursor      INTEGER NOT NULL                  -- every event up to this sequence was turned into a delivery or passed
) STRICT;

CREATE TABLE deliveries (
  id             INTEGER PRIMARY KEY,
  event_sequence INTEGER NOT NULL REFERENCES events (sequence),
  endpoint_id    INTEGER NOT NULL REFERENCES endpoints (id),
  status         TEXT    NOT NULL CHECK (status IN ('pending', 'sending', 'waiting', 'delivered', 'dead')),
  attempts       INTEGER NOT NULL DEFAULT 0,    -- claims so far
  due_at         INTEGER,                       -- NULL = delivered or dead
  lease_until    INTEGER,                       -- NULL = nobody holds it
  lease_epoch    INTEGER NOT NULL DEFAULT 0,    -- raised by every claim
  send_at        INTEGER GENERATED ALWAYS AS (CASE WHEN status IN ('pending', 'sending', 'waiting')
                   THEN coalesce(lease_until, due_at) END) STORED,
  UNIQUE (event_sequence, endpoint_id),
  CHECK ((status IN ('delivered', 'dead')) = (due_at IS NULL))  -- I11
) STRICT;

CREATE INDEX deliveries_send_at ON deliveries (endpoint_id, send_at) WHERE send_at IS NOT NULL;
CREATE INDEX deliveries_leased ON deliveries (endpoint_id, lease_until) WHERE lease_until IS NOT NULL;

CREATE TABLE attempts (
  id             INTEGER PRIMARY KEY,
  delivery_id    INTEGER NOT NULL REFERENCES deliveries (id) ON DELETE CASCADE,
  number         INTEGER NOT NULL CHECK (number >= 1),
  at             INTEGER NOT NULL,
  duration_ms    INTEGER NOT NULL,
  http_status    INTEGER,                       -- NULL = nothing answered
  code           TEXT,                          -- why nothing answered; NULL = something did
  retry_after_ms INTEGER,                       -- NULL = the endpoint asked for none
  excerpt        TEXT,                          -- the start of a refusal's body; NULL = taken, or nothing answered
  UNIQUE (delivery_id, number)
) STRICT;

CREATE TABLE api_keys (
  id         TEXT PRIMARY KEY,
  tenant     TEXT    NOT NULL,
  name       TEXT    NOT NULL,
  sha256     BLOB    NOT NULL UNIQUE CHECK (length(sha256) = 32),
  created_at INTEGER NOT NULL,
  revoked_at INTEGER                            -- NULL = live
) STRICT, WITHOUT ROWID;

-- What operators did by hand.
CREATE TABLE operator_log (
  id      INTEGER PRIMARY KEY,
  at      INTEGER NOT NULL,
  tenant  TEXT    NOT NULL,
  actor   TEXT    NOT NULL,                     -- the API key's id, or where it came from
  action  TEXT    NOT NULL,
  subject TEXT    NOT NULL,                     -- what it was done to
  detail  TEXT    NOT NULL CHECK (json_valid(detail))
) STRICT;

-- Tasks removed by retention: their callbacks revive nothing.
CREATE TABLE tombstones (
  uuid       BLOB PRIMARY KEY CHECK (length(uuid) = 16),
  removed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- How many rows have each status, kept by triggers: a scrape of the metrics must not read ten million rows.
CREATE TABLE counts (
  subject TEXT    NOT NULL CHECK (subject IN ('tasks', 'deliveries')),
  status  TEXT    NOT NULL,
  n       INTEGER NOT NULL CHECK (n >= 0),
  PRIMARY KEY (subject, status)
) STRICT, WITHOUT ROWID;

INSERT INTO counts (subject, status, n) VALUES
  ('tasks', 'accepted', 0), ('tasks', 'submitting', 0), ('tasks', 'submitted', 0), ('tasks', 'archiving', 0),
  ('tasks', 'completed', 0), ('tasks', 'partial', 0), ('tasks', 'failed', 0), ('tasks', 'timed_out', 0),
  ('tasks', 'rejected', 0), ('deliveries', 'pending', 0), ('deliveries', 'sending', 0),
  ('deliveries', 'waiting', 0), ('deliveries', 'delivered', 0), ('deliveries', 'dead', 0);

CREATE TRIGGER tasks_counted AFTER INSERT ON tasks BEGIN
  UPDATE counts SET n = n + 1 WHERE subject = 'tasks' AND status = new.status;
END;
CREATE TRIGGER tasks_recounted AFTER UPDATE OF status ON tasks WHEN old.status <> new.status BEGIN
  UPDATE counts SET n = n - 1 WHERE subject = 'tasks' AND status = old.status;
  UPDATE counts SET n = n + 1 WHERE subject = 'tasks' AND status = new.status;
END;
CREATE TRIGGER tasks_uncounted AFTER DELETE ON tasks BEGIN
  UPDATE counts SET n = n - 1 WHERE subject = 'tasks' AND status = old.status;
END;
CREATE TRIGGER deliveries_counted AFTER INSERT ON deliveries BEGIN
  UPDATE counts SET n = n + 1 WHERE subject = 'deliveries' AND status = new.status;
END;
CREATE TRIGGER deliveries_recounted AFTER UPDATE OF status ON deliveries WHEN old.status <> new.status BEGIN
  UPDATE counts SET n = n - 1 WHERE subject = 'deliveries' AND status = old.status;
  UPDATE counts SET n = n + 1 WHERE subject = 'deliveries' AND status = new.status;
END;
CREATE TRIGGER deliveries_uncounted AFTER DELETE ON deliveries BEGIN
  UPDATE counts SET n = n - 1 WHERE subject = 'deliveries' AND status = old.status;
END;

PRAGMA application_id = 0x43544348;  -- "CTCH"
PRAGMA user_version = 1;             -- the number of the last migration; each one sets its own
