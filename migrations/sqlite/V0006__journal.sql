-- The journal: which tasks' identities are still to be put into the bucket, or looked up there; and the ledger's index.

CREATE TABLE journal_work (
  task_id INTEGER PRIMARY KEY REFERENCES tasks (id) ON DELETE CASCADE,
  need    TEXT    NOT NULL CHECK (need IN (
            'first',     -- to be put before its first submission
            'put',       -- to be put when the bucket takes it
            'recall'))   -- adopted: what an earlier life of this service wrote is to be read before the provider is asked
) STRICT;

CREATE INDEX journal_work_to_put ON journal_work (task_id) WHERE need = 'put';

INSERT INTO meta (key, value) VALUES
  ('journal', '0');  -- '1' while the service keeps a journal (`s3.journal`); set at every start

CREATE TRIGGER tasks_journalled AFTER INSERT ON tasks WHEN (SELECT value FROM meta WHERE key = 'journal') = '1' BEGIN
  INSERT INTO journal_work (task_id, need) VALUES (new.id, iif(new.origin = 'submitted', 'first', 'recall'));
END;

-- What a tenant spent on a day: read from here without looking at all other days.
CREATE INDEX tasks_of_tenant_by_time ON tasks (tenant, created_at);

PRAGMA user_version = 6;
