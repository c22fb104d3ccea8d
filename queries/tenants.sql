-- name: ListTenants :many
SELECT * FROM tenants ORDER BY name;

-- name: GetTenant :many
-- The tenant of an id, or none.
SELECT * FROM tenants WHERE id = @id;

-- name: InsertTenant :one
INSERT INTO tenants (id, name) VALUES (@id, @name) RETURNING *;

-- name: DisableTenant :one
UPDATE tenants SET disabled_at = CASE WHEN @disabled::boolean THEN clock_timestamp() END WHERE id = @id RETURNING *;
