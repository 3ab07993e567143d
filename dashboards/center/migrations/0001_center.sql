-- Subset of dependencies.md §6: TEXT, BIGINT (ms), INTEGER, DOUBLE PRECISION, BOOLEAN, BYTEA; ids made by the program.
-- No reading is ever a row. Everything but people, cases, orders, codes and the audit log can be rebuilt from segments.

CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);

CREATE TABLE institutions (
    id TEXT PRIMARY KEY, name_zh TEXT NOT NULL, name_en TEXT NOT NULL, kind TEXT NOT NULL, created_at BIGINT NOT NULL
);

CREATE TABLE gateways (
    id TEXT PRIMARY KEY, public_key BYTEA NOT NULL, institution TEXT NOT NULL REFERENCES institutions (id), site TEXT NOT NULL,
    enrolled_at BIGINT NOT NULL, epoch_floor BIGINT NOT NULL,
    last_seen BIGINT, seen_civil BIGINT, software TEXT,
    simulated BOOLEAN NOT NULL, refused BIGINT NOT NULL, silent_alert BIGINT
);

-- One row per record as received; the bytes lie in the segment.
CREATE TABLE records (
    gateway TEXT NOT NULL, epoch BIGINT NOT NULL, seq BIGINT NOT NULL,
    segment BIGINT NOT NULL, start BIGINT NOT NULL, length BIGINT NOT NULL,
    hash BYTEA NOT NULL, prev BYTEA NOT NULL, kind TEXT NOT NULL, config BIGINT NOT NULL,
    t0 BIGINT NOT NULL, t1 BIGINT NOT NULL, state TEXT NOT NULL, projected BOOLEAN NOT NULL, received_at BIGINT NOT NULL,
    PRIMARY KEY (gateway, epoch, seq)
);
CREATE INDEX records_time ON records (gateway, t1);
CREATE INDEX records_waiting ON records (gateway, epoch, config) WHERE projected = FALSE;
CREATE INDEX records_segment ON records (segment, start);

-- Seqs that a stored gap record says are gone.
CREATE TABLE gone (
    gateway TEXT NOT NULL, epoch BIGINT NOT NULL, first BIGINT NOT NULL, last BIGINT NOT NULL,
    PRIMARY KEY (gateway, epoch, first, last)
);

-- How far each epoch is stored, quarantined or gone without a hole; -1 = not even its first record.
CREATE TABLE epochs (
    gateway TEXT NOT NULL, epoch BIGINT NOT NULL, through BIGINT NOT NULL, last BIGINT NOT NULL, broken BIGINT,
    PRIMARY KEY (gateway, epoch)
);

-- What gateways said of civil time, in the order they said it.
CREATE TABLE clocks (
    gateway TEXT NOT NULL, epoch BIGINT NOT NULL, seq BIGINT NOT NULL, item BIGINT NOT NULL,
    since BIGINT NOT NULL, offset_ms BIGINT NOT NULL, known BOOLEAN NOT NULL,
    PRIMARY KEY (gateway, epoch, seq, item)
);

CREATE TABLE configs (
    gateway TEXT NOT NULL, epoch BIGINT NOT NULL, seq BIGINT NOT NULL, software TEXT NOT NULL, semantics INTEGER NOT NULL,
    PRIMARY KEY (gateway, epoch, seq)
);

CREATE TABLE points (
    gateway TEXT NOT NULL, id TEXT NOT NULL, slot INTEGER NOT NULL, device TEXT NOT NULL, name_zh TEXT NOT NULL, name_en TEXT NOT NULL,
    unit TEXT NOT NULL, truth BOOLEAN NOT NULL, at BIGINT, quality TEXT NOT NULL, cause TEXT, value DOUBLE PRECISION,
    PRIMARY KEY (gateway, id)
);

-- `n`: the order in which the center learned of them. `body`: what the API shows, as JSON.
CREATE TABLE alerts (
    n BIGINT PRIMARY KEY, gateway TEXT NOT NULL, epoch BIGINT NOT NULL, number BIGINT NOT NULL, source TEXT NOT NULL,
    institution TEXT NOT NULL, rule TEXT NOT NULL, state TEXT NOT NULL, event BIGINT NOT NULL, case_id BIGINT,
    record_epoch BIGINT NOT NULL, record_seq BIGINT NOT NULL,
    since BIGINT, raised BIGINT NOT NULL, cleared BIGINT, body TEXT NOT NULL,
    UNIQUE (gateway, source, epoch, number)
);
CREATE INDEX alerts_state ON alerts (state, n);
CREATE INDEX alerts_case ON alerts (case_id);

CREATE TABLE cycles (
    gateway TEXT NOT NULL, epoch BIGINT NOT NULL, device TEXT NOT NULL, number BIGINT NOT NULL,
    started BIGINT NOT NULL, hold_started BIGINT, ended BIGINT NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (gateway, device, epoch, number)
);
CREATE INDEX cycles_time ON cycles (gateway, ended);

-- `body`: the row of the list, as JSON; derived from case_events.
CREATE TABLE cases (
    id BIGINT PRIMARY KEY, institution TEXT NOT NULL, gateway TEXT NOT NULL, device TEXT NOT NULL, rule TEXT NOT NULL,
    state TEXT NOT NULL, event BIGINT NOT NULL, priority INTEGER NOT NULL, updated_at BIGINT NOT NULL, body TEXT NOT NULL
);
CREATE INDEX cases_key ON cases (gateway, device, rule, state);
CREATE INDEX cases_state ON cases (state, updated_at);

CREATE TABLE case_events (
    case_id BIGINT NOT NULL REFERENCES cases (id), n BIGINT NOT NULL, at BIGINT NOT NULL, kind TEXT NOT NULL, body BYTEA NOT NULL,
    PRIMARY KEY (case_id, n)
);

CREATE TABLE users (
    id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, role TEXT NOT NULL, institution TEXT REFERENCES institutions (id),
    password TEXT NOT NULL, failures INTEGER NOT NULL, locked_until BIGINT NOT NULL, created_at BIGINT NOT NULL
);

-- Secrets of sessions, tokens and codes are stored as SHA-256 only.
CREATE TABLE sessions (id BYTEA PRIMARY KEY, user_id TEXT NOT NULL REFERENCES users (id), csrf TEXT NOT NULL, expires BIGINT NOT NULL);
CREATE TABLE tokens (id BYTEA PRIMARY KEY, user_id TEXT NOT NULL REFERENCES users (id), name TEXT NOT NULL, created_at BIGINT NOT NULL);

CREATE TABLE enrolment_codes (
    id BYTEA PRIMARY KEY, institution TEXT NOT NULL REFERENCES institutions (id), site TEXT NOT NULL, expires BIGINT NOT NULL, used_by TEXT
);

CREATE TABLE orders (
    seq BIGINT PRIMARY KEY, epoch BIGINT NOT NULL, gateway TEXT NOT NULL, issued BIGINT NOT NULL, expires BIGINT NOT NULL,
    alert_epoch BIGINT NOT NULL, alert_number BIGINT NOT NULL, outcome TEXT, bytes BYTEA NOT NULL
);
CREATE INDEX orders_gateway ON orders (gateway, seq);

CREATE TABLE attachments (
    sha256 TEXT PRIMARY KEY, media_type TEXT NOT NULL, bytes BIGINT NOT NULL, uploaded_by TEXT NOT NULL, institution TEXT, uploaded_at BIGINT NOT NULL
);

-- Append-only; each row's hash covers the one before.
CREATE TABLE audit (
    n BIGINT PRIMARY KEY, at BIGINT NOT NULL, actor TEXT NOT NULL, act TEXT NOT NULL, detail TEXT NOT NULL, prev BYTEA NOT NULL, hash BYTEA NOT NULL
);

-- Lives of journals that ran under the demo clock and were refused here.
CREATE TABLE simulated_epochs (gateway TEXT NOT NULL, epoch BIGINT NOT NULL, PRIMARY KEY (gateway, epoch));
