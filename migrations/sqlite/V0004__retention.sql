-- Retention: what is removed leaves its mark, so that nobody takes what is gone for what never was.

INSERT INTO meta (key, value) VALUES
  ('events_removed_to', '0');  -- the log is read from after this sequence; what lies below is gone, or kept for a delivery

-- An event outlives its task when `tasks.retention` is the shorter one.
ALTER TABLE events ADD COLUMN removed_task BLOB CHECK (length(removed_task) = 16);
  -- UUID of the task that retention removed; NULL = the task is there, or it is an operator event
CREATE INDEX events_of_removed_tasks ON events (removed_task) WHERE removed_task IS NOT NULL;

-- What is still to be erased, in the order of arrival.
CREATE INDEX documents_kept ON task_documents (task_id) WHERE document IS NOT NULL;

PRAGMA user_version = 4;
