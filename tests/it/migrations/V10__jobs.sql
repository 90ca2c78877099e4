CREATE TABLE jobs (state state);
INSERT INTO jobs VALUES ('late');
