-- Requests run as this role. It owns nothing, so that the policies below bind it, and may do what is granted here. Roles belong to the
-- server, so another database may have made it already.
DO $$ BEGIN
    CREATE ROLE blog;
    GRANT blog TO CURRENT_USER;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$;

-- Whose request this is. A setting that was never set is NULL. On a session that has had it once it is ''. Neither is anybody.
CREATE FUNCTION tenant() RETURNS text LANGUAGE sql STABLE
    AS $$ SELECT nullif(current_setting('app.tenant', true), '') $$;

CREATE TABLE posts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant text NOT NULL DEFAULT tenant(),
    title text NOT NULL,
    body text NOT NULL,
    -- With the tenant in it: a title that another blog has is free here, and nobody learns that the other has it.
    CONSTRAINT posts_title_is_free UNIQUE (tenant, title),
    UNIQUE (tenant, id)
);
ALTER TABLE posts ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON posts USING (tenant = tenant());
-- Not the column `tenant`: it is always the request's.
GRANT SELECT, INSERT (title, body) ON posts TO blog;
