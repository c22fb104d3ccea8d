package ports

import "context"

// Actor is who does something.
type Actor struct {
	// Name is an API key's, or a person's at a command. It is empty if nobody is known: the
	// service itself, or a client where no keys are asked for.
	Name string
	// OnBehalfOf is for whom, as the client says; empty if it names nobody. It is believed as
	// far as the client is.
	OnBehalfOf string
}

type actorKey struct{}

// WithActor returns a context in which ActorOf is the actor of a request.
func WithActor(ctx context.Context, actor Actor) context.Context {
	return context.WithValue(ctx, actorKey{}, actor)
}

// ActorOf is who has sent the request of ctx. It is zero if nobody is known.
func ActorOf(ctx context.Context) Actor {
	actor, _ := ctx.Value(actorKey{}).(Actor)

	return actor
}
