-- How the silence of a gateway is to be taken, as the watch saw it last: 'off' on schedule, 'delayed', 'silent'. NULL = not yet.
ALTER TABLE gateways ADD COLUMN contact TEXT;
