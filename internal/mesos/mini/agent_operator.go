package mini

import (
	"errors"
	"io"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	agentapi "github.com/mesos/mesos-go/api/v1/lib/agent"
)

// serveOperator is the part of an agent's operator API that looks: health,
// version, and the files of its sandboxes.
func (a *agent) serveOperator(w http.ResponseWriter, r *http.Request) {
	var call agentapi.Call
	err := readCall(r, &call)
	if err == nil && call.Type == agentapi.Call_UNKNOWN {
		err = badRequest("Failed to validate agent::Call: Expecting 'type' to be present")
	}
	media, acceptErr := accepted(r)
	if err == nil {
		err = acceptErr
	}
	var answer *agentapi.Response
	if err == nil {
		answer, err = a.operatorCall(&call)
	}
	if err != nil {
		writeError(w, err)
		return
	}
	respond(w, media, answer)
}

func (a *agent) operatorCall(c *agentapi.Call) (*agentapi.Response, error) {
	switch c.Type {
	case agentapi.Call_GET_HEALTH:
		return &agentapi.Response{Type: agentapi.Response_GET_HEALTH, GetHealth: &agentapi.Response_GetHealth{Healthy: true}}, nil
	case agentapi.Call_GET_VERSION:
		return &agentapi.Response{Type: agentapi.Response_GET_VERSION,
			GetVersion: &agentapi.Response_GetVersion{VersionInfo: mesos.VersionInfo{Version: Version}}}, nil
	case agentapi.Call_LIST_FILES:
		if c.ListFiles == nil {
			return nil, badRequest("Failed to validate agent::Call: Expecting 'list_files' to be present")
		}
		return a.listFiles(c.ListFiles.Path)
	case agentapi.Call_READ_FILE:
		if c.ReadFile == nil {
			return nil, badRequest("Failed to validate agent::Call: Expecting 'read_file' to be present")
		}
		return a.readFile(c.ReadFile)
	}
	return nil, httpError{status: http.StatusNotImplemented, text: "Not known to a single-machine Mesos: " + c.Type.String()}
}

// inSandboxes is path if it lies in the agent's sandboxes. Links, such as
// those to volumes, are not followed out of them.
func (a *agent) inSandboxes(path string) (string, error) {
	notFound := httpError{status: http.StatusNotFound}
	root, err := filepath.EvalSymlinks(filepath.Join(a.dir, "slaves"))
	if err != nil {
		return "", notFound
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil || !strings.HasPrefix(real, root+string(filepath.Separator)) {
		return "", notFound
	}
	return real, nil
}

func (a *agent) listFiles(path string) (*agentapi.Response, error) {
	real, err := a.inSandboxes(path)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(real)
	if err != nil {
		return nil, badRequest("%v", err)
	}
	out := &agentapi.Response_ListFiles{}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			continue // gone since
		}
		f := mesos.FileInfo{Path: filepath.Join(path, e.Name()), Nlink: ptr(int32(1)), Size_: ptr(uint64(info.Size())),
			Mtime: &mesos.TimeInfo{Nanoseconds: info.ModTime().Truncate(time.Second).UnixNano()}}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			f.Mode, f.UID, f.GID = ptr(st.Mode), ptr(accountName(st.Uid)), ptr(groupName(st.Gid))
		}
		out.FileInfos = append(out.FileInfos, f)
	}
	return &agentapi.Response{Type: agentapi.Response_LIST_FILES, ListFiles: out}, nil
}

// accountName is an account as Mesos shows it: by its name, else by its number.
func accountName(id uint32) string {
	if u, err := user.LookupId(strconv.FormatUint(uint64(id), 10)); err == nil {
		return u.Username
	}
	return strconv.FormatUint(uint64(id), 10)
}

func groupName(id uint32) string {
	if g, err := user.LookupGroupId(strconv.FormatUint(uint64(id), 10)); err == nil {
		return g.Name
	}
	return strconv.FormatUint(uint64(id), 10)
}

func (a *agent) readFile(c *agentapi.Call_ReadFile) (*agentapi.Response, error) {
	real, err := a.inSandboxes(c.Path)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(real)
	if err != nil {
		return nil, badRequest("%v", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.IsDir() {
		return nil, badRequest("Cannot read a directory")
	}
	const most = 1 << 20
	length := uint64(most)
	if c.Length != nil {
		length = min(*c.Length, most)
	}
	data := make([]byte, length)
	n, err := f.ReadAt(data, int64(min(c.Offset, uint64(info.Size()))))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, badRequest("%v", err)
	}
	return &agentapi.Response{Type: agentapi.Response_READ_FILE,
		ReadFile: &agentapi.Response_ReadFile{Size_: uint64(info.Size()), Data: data[:n]}}, nil
}
