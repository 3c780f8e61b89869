package api

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/aosc/aosc/internal/cotton"
	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
	"github.com/aosc/aosc/internal/cotton/framework"
	"github.com/aosc/aosc/internal/mysql"
)

// create stores a new cluster and answers before it runs. What is wrong is found in the original's order: not
// registered, name taken, user, nodes, size; so a client that looks at the first message sees the same one.
func (s *server) create(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	asked, isJSON, malformed := readCreate(r)
	if !s.Framework.Health().Ready {
		return framework.ErrNotReady
	}
	switch _, err := s.Framework.Cluster(r.Context(), name); {
	case err == nil:
		return exists(name)
	case !errors.Is(err, framework.ErrUnknown):
		return err
	case malformed != nil:
		return malformed
	}
	spec, err := s.spec(name, asked)
	if err != nil {
		return err
	}
	password := asked.Password
	if password == "" {
		password = generatePassword()
	}
	if spec.PasswordHash, err = mysql.HashPassword(password); err != nil {
		return err
	}
	if _, err := s.Framework.Create(r.Context(), spec); err != nil {
		return original(named(err, name), asked)
	}
	status := http.StatusOK
	if isJSON {
		status = http.StatusCreated
		w.Header().Set("Location", "/clusters/"+name)
	}
	return writeJSON(w, status, v1.Created{ClusterURL: s.ClusterURL(name), Password: password})
}

// spec is what a request asks for, checked: nothing is hashed or stored for a bad one.
func (s *server) spec(name string, asked v1.Create) (cotton.Spec, error) {
	spec := cotton.Spec{
		Name: name, User: asked.User, Nodes: asked.Nodes, Size: s.DefaultSize, Policy: cotton.Policy(asked.Policy),
		Labels: asked.Labels, Config: asked.Config, Scalars: asked.Scalars, Constraints: asked.Constraints, Sidecars: asked.Sidecars,
	}
	// Whether they can be restored is for the framework to say, which has the store.
	spec.BackupID, spec.RestoreTo = asked.BackupID, strings.TrimSpace(asked.RestoreTo)
	if spec.Policy == "" {
		spec.Policy = cotton.DefaultPolicy(spec.Nodes)
	}
	policy, policyErr := backupPolicy(asked.Backup)
	spec.Backup = policy
	sizeErr := s.resolveSize(asked.Size, &spec.Size)
	if sizeErr != nil {
		spec.Size = s.DefaultSize // the fields before it may be wrong as well, and come first
	}
	if printable(asked.User) != asked.User {
		return cotton.Spec{}, invalid("cluster_user", "Invalid user name: "+printable(asked.User), "control characters are not allowed")
	}
	if err := original(spec.Validate(), asked); err != nil {
		return cotton.Spec{}, err
	}
	if err := cmp.Or(sizeErr, policyErr); err != nil {
		return cotton.Spec{}, err
	}
	if !slices.Contains([]cotton.Policy{cotton.PolicyLossless, cotton.PolicyAvailable, cotton.PolicySingle}, spec.Policy) {
		return cotton.Spec{}, invalid("policy", fmt.Sprintf("Unknown policy %q", printable(asked.Policy)), "known are lossless, available and single")
	}
	if asked.Package != "" {
		uri, known := s.Packages[asked.Package]
		if !known {
			return cotton.Spec{}, invalid("package", fmt.Sprintf("Unknown package %q", printable(asked.Package)), knownNames("the scheduler's --packages has", s.Packages))
		}
		spec.Package = uri
	}
	return spec, errors.Join(checkPassword(asked.Password), checkExtras(asked))
}

func (s *server) resolveSize(asked *v1.Size, size *cotton.Size) error {
	switch {
	case asked == nil:
		return nil
	case asked.Name == "":
		*size = cotton.Size{CPUs: asked.CPUs, MemMB: asked.MemMB, DiskMB: asked.DiskMB}
		return nil
	}
	known, ok := s.Sizes[asked.Name]
	if !ok {
		return invalid("size", fmt.Sprintf("Unknown size %q", printable(asked.Name)),
			knownNames("known are", s.Sizes)+`, or {"cpus":1,"mem":"512mb","disk":"2gb"}`)
	}
	*size = known
	return nil
}

func knownNames[V any](intro string, m map[string]V) string {
	if len(m) == 0 {
		return intro + " none"
	}
	return intro + " " + strings.Join(slices.Sorted(maps.Keys(m)), ", ")
}

// original gives the domain's refusals the texts that the original had for them; what is wrong exactly is the detail.
func original(err error, asked v1.Create) error {
	var wrong *cotton.InvalidError
	if !errors.As(err, &wrong) {
		return err
	}
	message := wrong.Error()
	switch wrong.Field {
	case "cluster_user":
		message = "Invalid user name: " + asked.User
	case "num_nodes":
		message = fmt.Sprintf("Invalid number of cluster nodes: %d", asked.Nodes)
	case "size":
		message = "Instance 'size' too small: " + wrong.Problem
		if strings.Contains(wrong.Problem, "at most") {
			message = "Instance 'size' too large: " + wrong.Problem
		}
	case "backup_id":
		message, problem, _ := strings.Cut(wrong.Problem, ": ")
		return invalid(wrong.Field, message, problem)
	}
	if strings.Contains(message, wrong.Problem) {
		return invalid(wrong.Field, message, "") // said already
	}
	return invalid(wrong.Field, message, wrong.Problem)
}

// delete starts the end of a cluster. The password is compared as a hash, in constant time.
func (s *server) delete(w http.ResponseWriter, r *http.Request) error {
	password, force, err := readDelete(r)
	if err != nil {
		return err
	}
	view, err := s.cluster(r)
	if err != nil {
		return err
	}
	name := r.PathValue("name")
	if password == "" || len(password) > maxPassword || !mysql.CheckPassword(view.Record.Spec.PasswordHash, password) {
		return noPermission(name)
	}
	end := s.Framework.Delete
	if force {
		end = s.Framework.ForceDelete
	}
	if err := end(r.Context(), name); err != nil {
		return named(err, name)
	}
	return writeJSON(w, http.StatusOK, v1.Deleted{ClusterURL: s.ClusterURL(name)})
}
