-- +goose Up

-- Clients' changes come into the audit too, and a client need not say why. Commands still ask
-- for a reason where a person decides.
ALTER TABLE audit DROP CONSTRAINT audit_reason_check;

COMMENT ON TABLE audit IS
    'What was changed by people and clients, written in the commit of the change. Rows can be added, but not changed or deleted.';
COMMENT ON COLUMN audit.actor IS 'Who did it: a person who ran a command, or an API key.';
COMMENT ON COLUMN audit.reason IS 'Why. Empty: nobody said.';

-- +goose Down

-- For development only.
ALTER TABLE audit DISABLE TRIGGER audit_append_only;
UPDATE audit SET reason = '-' WHERE reason = '';
ALTER TABLE audit ENABLE TRIGGER audit_append_only;
ALTER TABLE audit ADD CONSTRAINT audit_reason_check CHECK (reason <> '');

COMMENT ON TABLE audit IS
    'What people decided with commands, written in the commit of the change. Rows can be added, but not changed or deleted.';
COMMENT ON COLUMN audit.actor IS 'Who ran the command.';
COMMENT ON COLUMN audit.reason IS NULL;
