// Package account makes sure that a database is only used with the provider's account
// that it belongs to.
package account

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/marketflow/marketflow/domain/binding"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// newestIntents is how many payments are looked up at the provider if its account is
// not known.
const newestIntents = 3

// ErrUnverified says that the provider did not answer, so that it is not known yet
// whether the database belongs to this account.
var ErrUnverified = errors.New("whether this database belongs to this Stripe account is not known yet")

const wayOut = "; correct the settings, or, if the database was moved, renamed or restored on purpose, " +
	"run `marketflow account adopt`"

// Observer is told what people decide about the binding.
type Observer interface {
	// DatabaseAdopted: a person has recorded that the database belongs to another
	// account, host or server. givenUp operations need attention because of that.
	DatabaseAdopted(ctx context.Context, from, to binding.Binding, actor, reason string, givenUp int)
}

// Binding compares the account, host and server that the database belongs to with
// those that the settings lead to. This matters because idempotency keys are known to
// one account only: another account would execute a repeated call once more.
type Binding struct {
	installation ports.Installation
	account      ports.ProviderAccount
	provider     ports.Provider
	// id is the installation's.
	id       operation.Installation
	observer Observer

	verifying sync.Mutex
	// holds is true once the database and the account are known to belong together.
	holds atomic.Bool
	// own is the account's id. It is empty if it is not known.
	own atomic.Value
}

// NewBinding returns the use case.
func NewBinding(
	installation ports.Installation, id operation.Installation, account ports.ProviderAccount, provider ports.Provider,
	observer Observer,
) *Binding {
	b := &Binding{installation: installation, id: id, account: account, provider: provider, observer: observer}
	b.own.Store("")

	return b
}

// Check compares and records nothing. It returns an error that IsDifferent knows,
// ports.ErrKeyRejected, or ErrUnverified if the provider did not answer and nothing
// else differs.
func (b *Binding) Check(ctx context.Context) error {
	_, err := b.check(ctx)

	return err
}

// Verify does what Check does, and records what was not recorded yet. After it the
// provider may be called; see Guard.
func (b *Binding) Verify(ctx context.Context) error {
	b.verifying.Lock()
	defer b.verifying.Unlock()

	if b.holds.Load() {
		return nil
	}

	now, err := b.check(ctx)
	if err != nil {
		return err
	}

	// Another process may have recorded something since.
	recorded, err := b.installation.Bind(ctx, now)
	if err != nil {
		return err
	}

	if err := compare(recorded, now); err != nil {
		return err
	}

	b.own.Store(recorded.Account)
	b.holds.Store(true)

	return nil
}

func compare(recorded, now binding.Binding) error {
	if differ := recorded.Differences(now); len(differ) > 0 {
		return fmt.Errorf("%w%s", &binding.DifferentError{Differences: differ}, wayOut)
	}

	return nil
}

// check returns what the settings lead to. It does not call the provider if something
// differs already.
func (b *Binding) check(ctx context.Context) (binding.Binding, error) {
	recorded, now, err := b.local(ctx)
	if err != nil {
		return now, err
	}

	b.own.Store(recorded.Account)

	if err := compare(recorded, now); err != nil {
		return now, err
	}

	if now.Account, err = b.ask(ctx); err != nil {
		return now, err
	}

	if err := compare(recorded, now); err != nil {
		return now, err
	}

	if recorded.Account == "" || now.Account == "" {
		return now, b.checkIntents(ctx)
	}

	return now, nil
}

// local returns what was recorded, and what the settings lead to as far as that is
// known without the provider.
func (b *Binding) local(ctx context.Context) (recorded, now binding.Binding, err error) {
	if recorded, err = b.installation.Binding(ctx); err != nil {
		return recorded, now, err
	}

	if now, err = b.installation.Here(ctx); err != nil {
		return recorded, now, err
	}

	now.Host, now.Mode = b.account.API()

	return recorded, now, nil
}

func (b *Binding) ask(ctx context.Context) (string, error) {
	account, err := b.account.Account(ctx)

	switch {
	case errors.Is(err, ports.ErrKeyRejected):
		return "", fmt.Errorf("STRIPE_SECRET_KEY: %w (status 401): it was rolled, revoked or mistyped", err)
	case err != nil:
		return "", fmt.Errorf("%w: %w", ErrUnverified, err)
	default:
		return account, nil
	}
}

// errMissing says that the account of the settings does not have our payments.
var errMissing = errors.New("this database holds payments that this Stripe account does not have")

// IsDifferent tells whether an error of Check or Verify means that the database does
// not belong to these settings.
func IsDifferent(err error) bool {
	return errors.As(err, new(*binding.DifferentError)) || errors.Is(err, errMissing)
}

// checkIntents is for an account whose id is not known on both sides. Instead of the
// ids being equal, the account must have the newest payments.
func (b *Binding) checkIntents(ctx context.Context) error {
	ids, err := b.installation.NewestIntents(ctx, newestIntents)
	if err != nil {
		return err
	}

	var missing []string

	for _, id := range ids {
		_, err := b.provider.Intent(ctx, id)

		switch {
		case fault.KindOf(err) == fault.NotFound:
			missing = append(missing, id)
		case err != nil:
			return fmt.Errorf("%w: %w", ErrUnverified, err)
		}
	}

	if len(missing) > 0 {
		return fmt.Errorf("%w (%s)%s", errMissing, strings.Join(missing, ", "), wayOut)
	}

	return nil
}

// Foreign tells whether an event or an object is from the provider's other mode (live
// or test) or from an account that is not ours. Where it names no mode or no account,
// that counts as ours: only events of connected accounts name an account
// (https://docs.stripe.com/api/events/object#event_object-account).
func (b *Binding) Foreign(live *bool, account string) bool {
	_, mode := b.account.API()
	own, _ := b.own.Load().(string)

	return live != nil && *live != (mode == binding.Live) || account != "" && account != own
}

// ForeignMark tells whether an intent carries the mark of another installation.
func (b *Binding) ForeignMark(intent ports.Intent) bool {
	return intent.Marked && intent.Mark.Installation != b.id.ID
}

// Shown is both sides of a binding.
type Shown struct {
	// ID is the installation's.
	ID            operation.Installation
	Recorded, Now binding.Binding
	// Adoptions are the earlier decisions to adopt, oldest first.
	Adoptions []ports.Adopted
	// Account is why the account could not be read. It is nil if the account is known,
	// or if the key has no permission to ask for it.
	Account error
	// Err is the error of Check.
	Err error
}

// Show returns both sides, even if they differ.
func (b *Binding) Show(ctx context.Context) (Shown, error) {
	recorded, now, err := b.local(ctx)
	if err != nil {
		return Shown{}, err
	}

	adoptions, err := b.installation.Adoptions(ctx)
	if err != nil {
		return Shown{}, err
	}

	shown := Shown{ID: b.id, Recorded: recorded, Now: now, Adoptions: adoptions}

	// The provider is asked even if something else differs.
	if shown.Now.Account, shown.Account = b.ask(ctx); shown.Account == nil {
		shown.Err = compare(recorded, shown.Now)
	}

	if shown.Err == nil {
		shown.Err = b.Check(ctx)
	}

	return shown, nil
}

// ErrNothingToAdopt is the error of Adopt if nothing differs.
var ErrNothingToAdopt = errors.New("there is nothing to adopt: the database belongs to these settings already")

// Adopted is what Adopt did.
type Adopted struct {
	From, To binding.Binding
	// GivenUp counts the operations that were for another account and now need
	// attention.
	GivenUp int
}

// Adopt records a person's decision that the database belongs to what the settings lead
// to. If that may be another account, pending operations are never sent again.
func (b *Binding) Adopt(ctx context.Context, actor, reason string) (Adopted, error) {
	shown, err := b.Show(ctx)
	if err != nil {
		return Adopted{}, err
	}

	switch {
	case shown.Err == nil:
		return Adopted{}, ErrNothingToAdopt
	case errors.Is(shown.Account, ports.ErrKeyRejected):
		return Adopted{}, shown.Account
	case !IsDifferent(shown.Err):
		return Adopted{}, shown.Err
	}

	believed := shown.Recorded
	if errors.Is(shown.Err, errMissing) {
		believed.Account = "" // it is not the account that was recorded
	}

	adopted := Adopted{From: shown.Recorded, To: believed.Adopted(shown.Now)}

	adopted.GivenUp, err = b.installation.Rebind(ctx, ports.Adoption{
		To: adopted.To, Actor: actor, Reason: reason, GiveUp: !believed.SameAccount(adopted.To),
	})
	if err != nil {
		return Adopted{}, err
	}

	b.observer.DatabaseAdopted(ctx, adopted.From, adopted.To, actor, reason, adopted.GivenUp)

	return adopted, nil
}
